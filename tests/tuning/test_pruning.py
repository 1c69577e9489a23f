"""When a trial is stopped: behind the median with one objective, dominated with two, not a number in both."""

import math

import optuna
import pytest

from medtransfer.errors import ConfigError, ModelError, TrainingError
from medtransfer.tuning.pruning import Stopped, Watch, dominates
from medtransfer.tuning.study import REACHED
from medtransfer.tuning.trial import ended
from tiny_search import search_of

RULE = {"phase": "finetune", "metric": "val/auroc", "startup": 2, "warmup": 1}
TWO = [{"metric": "val/auroc"}, {"cost": "multiply_adds", "direction": "minimize"}]


def study(search):
    directions = [objective.direction for objective in search.config.objectives]
    pruner = optuna.pruners.MedianPruner(2, 1) if len(directions) == 1 else optuna.pruners.NopPruner()
    return optuna.create_study(directions=directions, pruner=pruner)


def feed(watch, *values):
    for value in values:
        watch.observe("finetune", {"val/auroc": value})


def test_one_objective_is_stopped_behind_the_median():
    search = search_of(pruning=RULE)
    made = study(search)
    for end in (0.8, 0.9):
        trial = made.ask()
        feed(Watch(trial, search.config), 0.5, end)
        made.tell(trial, end)
    watch = Watch(made.ask(), search.config)
    with pytest.raises(Stopped, match=r"val/auroc 0.6000 is behind the median at validation 2"):
        feed(watch, 0.1, 0.6)
    assert watch.watched == [0.1, 0.6]


def test_other_phases_and_metrics_are_not_watched():
    search = search_of(pruning=RULE)
    watch = Watch(study(search).ask(), search.config)
    watch.observe("sstl_m", {"val/auroc": 0.1})
    watch.observe("finetune", {"train/loss": math.nan})
    assert watch.watched == []


@pytest.mark.parametrize("objectives", [None, TWO])
def test_what_is_not_a_number_stops_with_the_reason(objectives):
    search = search_of(pruning=RULE, objectives=objectives)
    with pytest.raises(Stopped, match="is not a number at validation 1"):
        feed(Watch(study(search).ask(), search.config), math.nan)


@pytest.mark.parametrize(("cost", "stopped"), [(10.0, True), (5.0, False)])
def test_of_two_objectives_only_trials_of_no_higher_cost_count(cost, stopped):
    search = search_of(pruning=RULE, objectives=TWO)
    made = study(search)
    for _ in range(2):
        trial = made.ask()
        trial.set_user_attr(REACHED, {"watched": [0.5, 0.9], "cost": 8.0})
        made.tell(trial, [0.9, 8.0])
    watch = Watch(made.ask(), search.config)
    watch.cost = cost
    if stopped:
        with pytest.raises(Stopped, match=r"2 trials of no higher cost had a better val/auroc than 0\.8000"):
            feed(watch, 0.4, 0.8)
    else:
        feed(watch, 0.4, 0.8)


def test_dominance_needs_the_same_moment():
    assert not dominates({"watched": [0.9], "cost": 1.0}, 1, 0.1, 2.0, maximize=True)
    assert dominates({"watched": [0.9], "cost": 1.0}, 0, 0.1, 2.0, maximize=True)
    assert dominates({"watched": [0.1], "cost": 1.0}, 0, 0.9, 2.0, maximize=False)


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (Stopped("behind"), "PRUNED", "behind"),
        (TrainingError("loss is not a number at step 4"), "PRUNED", "loss is not a number at step 4"),
        (ConfigError("fits: 'x' is no phase"), "FAIL", "fits: 'x' is no phase"),
        (ModelError("no such cut"), "FAIL", "no such cut"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "FAIL", "more memory than there is"),
    ],
)
def test_what_concerns_one_trial_ends_no_worker(error, state, reason):
    def fit():
        raise error

    reached = ended(search_of().config, fit)
    assert (reached.state, reached.reason) == (state, reason)


def test_a_bug_is_no_failed_trial():
    with pytest.raises(RuntimeError, match="shapes"):
        ended(search_of().config, lambda: (_ for _ in ()).throw(RuntimeError("shapes differ")))


def test_an_objective_that_is_not_a_number_is_pruned():
    reached = ended(search_of().config, lambda: [math.nan])
    assert (reached.state, reached.reason) == ("PRUNED", "val/auroc is not a number")
