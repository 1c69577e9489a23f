"""Adoption of a trial: the right values, what is refused, and what reports say of it afterwards."""

import shutil
from pathlib import Path

import pytest
import yaml

from medtransfer.cli import run
from medtransfer.errors import ConfigError
from medtransfer.params import parse_params
from medtransfer.tuning import adopt as adopt_module
from medtransfer.tuning.adopt import adopt
from medtransfer.tuning.notes import notes_in, tuned_table
from medtransfer.tuning.records import read_adoption
from medtransfer.tuning.results import SearchResult, TrialRecord, front, read_result, write_result
from medtransfer.tuning.space import base_of

SHIPPED = Path(__file__).parents[2] / "params.yaml"
ALPHA1, ALPHA2 = (f"attentive_transfer.sstl_m.method.alpha{n}" for n in (1, 2))
RATE = "attentive_transfer.sstl_m.train.optimizer.lr"


def trial(number, state, *objectives, rate=0.05, reason=""):
    values = {ALPHA1: 0.5, ALPHA2: 0.25, RATE: rate}
    return TrialRecord(number=number, state=state, values=values, objectives=objectives, reason=reason)


@pytest.fixture
def result(here):
    shutil.copy(SHIPPED, here / "params.yaml")
    tree = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    config = parse_params(tree).search("sstl_m")
    made = SearchResult(
        name="sstl_m",
        config=config,
        profile="sample",
        space_hash="0",
        base=base_of(tree, config),
        data={},
        run_key="",
        trials=(
            trial(0, "COMPLETE", 0.7),
            trial(1, "FAIL", reason="more memory than there is"),
            trial(2, "COMPLETE", 0.8, rate=0.0125),
            trial(3, "PRUNED", reason="behind the median"),
            trial(4, "COMPLETE", 0.8),
        ),
    )
    write_result(made)
    return made


def values_now():
    section = parse_params(yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))).attentive_transfer.sstl_m
    return section.method.alpha1, section.method.alpha2, section.train.optimizer.lr


def test_the_first_of_the_best_trials_is_adopted(result):
    assert run(["adopt", "sstl_m"]) == 0
    assert values_now() == (0.5, 0.25, 0.0125)
    adopted = read_adoption("sstl_m")
    assert (adopted.trial, adopted.trials, adopted.former) == (2, 5, {RATE: 0.02})
    table = tuned_table(notes_in(Path("params.yaml").read_text()), {"sstl_m": [RATE]})
    assert [cell.main for cell in table.rows[0]] == [RATE, "sstl_m", "2", "5"]


def test_another_trial_keeps_what_was_there_before_the_search(result):
    adopt(result, None)
    adopt(result, 0)
    assert values_now() == (0.5, 0.25, 0.05)
    assert read_adoption("sstl_m").former == {RATE: 0.02}


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (1, "trial 1 is FAIL (more memory than there is); choose a complete one: 0, 2, 4"),
        (3, "trial 3 is PRUNED (behind the median); choose a complete one: 0, 2, 4"),
        (9, "there is no trial 9; complete are 0, 2, 4"),
    ],
)
def test_a_trial_that_reached_nothing_is_refused(result, number, line, capsys):
    before = Path("params.yaml").read_bytes()
    assert run(["adopt", "sstl_m", "--trial", str(number)]) == 2
    assert capsys.readouterr().err == f"medtransfer: tuning.sstl_m: {line}\n"
    assert Path("params.yaml").read_bytes() == before


def test_other_values_than_those_of_the_search_are_refused(result):
    file = Path("params.yaml")
    file.write_text(file.read_text().replace("probe_neighbours: 20", "probe_neighbours: 9"))
    with pytest.raises(ConfigError, match=r"changed since the search sstl_m ran .*probe_neighbours: 20 -> 9"):
        adopt(result, None)


def test_a_file_that_changes_meanwhile_is_not_overwritten(result, monkeypatch):
    file, parse = Path("params.yaml"), adopt_module.parse_params

    def edited(tree):
        file.write_text(file.read_text().rstrip("\n") + "\n# edited\n")
        return parse(tree)

    monkeypatch.setattr(adopt_module, "parse_params", edited)
    with pytest.raises(ConfigError, match="changed while the values were written"):
        adopt(result, None)
    assert "tuning.sstl_m trial" not in file.read_text()


def test_without_a_result_the_verb_says_what_to_run(here, capsys):
    assert run(["adopt", "sstl_m"]) == 2
    assert "no result of this search; run: medtransfer tune sstl_m" in capsys.readouterr().err


def test_a_result_survives_its_file(result):
    assert read_result("sstl_m") == result


def test_the_front_of_two_objectives():
    objectives = parse_params(yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))).search("cut").objectives
    trials = [trial(n, "COMPLETE", *pair) for n, pair in enumerate([(0.9, 5.0), (0.8, 2.0), (0.7, 3.0), (0.9, 6.0)])]
    assert [one.number for one in front(trials, objectives)] == [1, 0]
