"""The loop on the plain supervised task: what it learns, what it refuses, what it never looks at."""

import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from medtransfer.data.loaders import Loader
from medtransfer.data.packed import PackedDataset
from medtransfer.errors import ConfigError, TrainingError
from medtransfer.tracking.tracker import NullTracker
from medtransfer.training.loop import Fit
from medtransfer.training.optim import AdamConfig, ConstantSchedule, PlateauSchedule, SGDConfig
from medtransfer.training.selection import SelectionConfig
from medtransfer.training.supervised import SupervisedTask


class Broken(SupervisedTask):
    """Its loss is not a number from one step on."""

    def __init__(self, model, classes, step):
        super().__init__(model, classes)
        self.left = step

    def losses(self, batch):
        self.left -= 1
        return {"total": super().losses(batch)["total"] * (math.nan if self.left < 0 else 1.0)}


def test_eight_images_are_learnt_by_heart(make_fit, data, toys):
    rows = np.tile(data.rows("train")[:8], 20)
    loader = Loader(data, rows, batch_size=8, seed=0, train=True, crop=20)
    config = toys.config(steps=200, validate_every=200, optimizer=AdamConfig(lr=0.05), selection=None)
    task = SupervisedTask(toys.net(dropout=0.0), toys.classes)
    make_fit(task, config, loader, validate=None).run()
    batch = loader.batch(0, 0)
    task.module.eval()
    assert F.cross_entropy(task.module(batch["image"]), batch["target"]).item() < 0.2


def test_the_loop_equals_a_literal_loop(make_fit, data, toys):
    config = toys.config(steps=5, optimizer=SGDConfig(lr=0.05), clip_norm=0.5, selection=None)
    task = SupervisedTask(toys.net(dropout=0.0), toys.classes)
    result = make_fit(task, config, validate=None).run()
    twin, loader, losses = toys.net(dropout=0.0).train(), toys.loader(data), []
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    for step in range(5):
        batch = loader.batch(*divmod(step, loader.steps))
        loss = F.cross_entropy(twin(batch["image"]), batch["target"])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
        optimizer.step()
        losses.append(loss.item())
    torch.testing.assert_close(task.module.state_dict(), twin.state_dict(), rtol=1e-4, atol=1e-6)
    assert [row["step"] for row in result.history] == [3, 5]
    assert [row["train/loss"] for row in result.history] == pytest.approx([np.mean(losses[:3]), np.mean(losses[3:])])


def test_the_selected_weights_are_those_of_the_best_validation(make_fit, toys):
    scores, seen = iter([0.5, 0.9, 0.9, 0.7]), []
    task = SupervisedTask(toys.net(), toys.classes)

    def validate():
        seen.append(toys.weights(task))
        return {"val/score": next(scores)}

    config = toys.config(selection=SelectionConfig(metric="val/score"))
    result = make_fit(task, config, validate=validate).run()
    assert (result.best_step, result.metrics["val/score"], result.steps) == (6, 0.9, 12)
    assert toys.equal(toys.weights(task), seen[1])
    assert not toys.equal(seen[1], seen[3])


def test_without_selection_the_last_weights_stay(make_fit, toys):
    task, seen = SupervisedTask(toys.net(), toys.classes), []

    def validate():
        seen.append(toys.weights(task))
        return {"val/score": -float(len(seen))}

    result = make_fit(task, toys.config(selection=None), validate=validate).run()
    assert result.best_step == 12
    assert toys.equal(toys.weights(task), seen[-1])


def test_a_fit_stops_early_when_patience_is_used_up(make_fit, toys):
    scores = iter([0.5, 0.6, 0.6, math.nan, 0.9])
    config = toys.config(steps=30, selection=SelectionConfig(metric="val/score", patience=2))
    result = make_fit(config=config, validate=lambda: {"val/score": next(scores)}).run()
    assert (result.steps, result.best_step, len(result.history)) == (12, 6, 4)


def test_a_period_reports_points_by_epoch_or_by_step(make_fit, toys):
    by_epoch = make_fit(config=toys.config(steps=None, epochs=4, validate_every=2))
    by_epoch.run()
    assert sorted({point for _, point, _ in by_epoch.tracker.points}) == [2, 4]


def test_points_of_a_step_budget_are_steps(make_fit, toys):
    fit = make_fit(config=toys.config(steps=7))
    fit.run()
    assert sorted({point for _, point, _ in fit.tracker.points}) == [3, 6, 7]


def test_a_loss_that_is_not_a_number_stops_the_fit_with_step_and_remedy(make_fit, toys):
    fit = make_fit(Broken(toys.net(), toys.classes, 4), toys.config(save_every_s=60))
    text = r"toy: train/loss is not a number at step 6, first in the last 3 steps; the learning rate is 0.1: lower it"
    with pytest.raises(TrainingError, match=text):
        fit.run()


def test_a_broken_state_is_never_saved(make_fit, toys, tmp_path):
    fit = make_fit(Broken(toys.net(), toys.classes, 4), toys.config())
    with pytest.raises(TrainingError, match=r"train/loss is not a number at step 5, first in the last 2 steps"):
        fit.run()
    assert sorted(file.name for file in (tmp_path / "resume").glob("*.safetensors")) == [
        "state-3.safetensors",
        "state-4.safetensors",
    ]


def test_a_weight_that_is_not_a_number_stops_the_fit(make_fit, toys):
    task = SupervisedTask(toys.net(), toys.classes)
    task.after_step = lambda progress: task.module.head.bias.data.fill_(math.inf) if progress == 0.25 else None
    with pytest.raises(TrainingError, match="a weight is not a number at step 3"):
        make_fit(task, toys.config(save_every_s=60)).run()


def test_a_selection_metric_without_a_value_is_refused_at_once(make_fit, toys):
    config = toys.config(selection=SelectionConfig(metric="val/score"))
    with pytest.raises(TrainingError, match="val/score has no value on the validation split at step 3"):
        make_fit(config=config, validate=lambda: {"val/score": math.nan}).run()


def test_a_missing_selection_metric_names_those_that_exist(make_fit, toys):
    config = toys.config(selection=SelectionConfig(metric="val/auroc"))
    with pytest.raises(ConfigError, match=r"'val/auroc' is not computed here; there are .*val/auroc_ill"):
        make_fit(config=config).run()


def test_nothing_to_train_is_refused(make_fit, toys):
    with pytest.raises(TrainingError, match="toy: every parameter is frozen; unfreeze at least one"):
        make_fit(SupervisedTask(toys.net().requires_grad_(False), toys.classes))


def test_selection_without_validation_is_refused(make_fit):
    with pytest.raises(ConfigError, match=r"toy: selection by val/auprc_ill needs a validation split"):
        make_fit(validate=None)


def test_the_rate_counts_training_and_not_validation(make_fit, toys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("medtransfer.training.loop.time.monotonic", lambda: clock[0])

    class Timed(SupervisedTask):
        def after_step(self, progress):
            clock[0] += 0.5

    def validate():
        clock[0] += 100.0
        return {"val/score": 1.0}

    config = toys.config(selection=None, save_every_s=1000)
    fit = make_fit(Timed(toys.net(), toys.classes), config, validate=validate)
    result = fit.run()
    rates = [value for key, _, value in fit.tracker.points if key == "train/images_per_second"]
    assert rates == [16.0] * 4  # eight images every half second
    assert result.seconds == pytest.approx(12 * 0.5 + 3 * 100)


def test_no_prefetch_thread_outlives_a_fit_that_fails(make_fit, toys):
    before = threading.active_count()
    with pytest.raises(TrainingError):
        make_fit(Broken(toys.net(), toys.classes, 1), toys.config()).run()
    assert threading.active_count() == before


def poisoned(packed, split) -> PackedDataset:
    """The toy data with the labels of one split swapped."""
    data = PackedDataset.open(packed)
    swap = {"ill": "healthy", "healthy": "ill"}
    chosen = data.manifest["split"] == split
    data.manifest.loc[chosen, "label"] = data.manifest.loc[chosen, "label"].map(swap)
    return data


def fitted(data, engine, folder, toys):
    task = SupervisedTask(toys.net(), toys.classes)
    score = toys.validation(data, engine)
    result = Fit(
        task,
        toys.loader(data),
        toys.config(),
        engine=engine,
        tracker=NullTracker(),
        scratch=folder,
        seed=5,
        validate=lambda: score(task),
    ).run()
    return toys.weights(task), result


def test_test_labels_change_neither_weights_nor_selection(data, packed, engine, tmp_path, toys):
    before, honest = fitted(data, engine, tmp_path / "a", toys)
    after, other = fitted(poisoned(packed, "test"), engine, tmp_path / "b", toys)
    assert toys.equal(before, after)
    assert honest.history == other.history
    assert (honest.best_step, honest.metrics) == (other.best_step, other.metrics)


def test_validation_labels_change_the_selection_and_no_training_step(data, packed, engine, tmp_path, toys):
    _, honest = fitted(data, engine, tmp_path / "a", toys)
    _, other = fitted(poisoned(packed, "val"), engine, tmp_path / "b", toys)
    losses = [[row["train/loss"] for row in result.history] for result in (honest, other)]
    assert losses[0] == losses[1]
    assert honest.metrics["val/auroc_ill"] == pytest.approx(
        1 - other.history[honest.best_step // 3 - 1]["val/auroc_ill"]
    )


def test_a_plateau_schedule_of_a_group_needs_a_selection(make_fit, toys):
    class Own(SupervisedTask):
        def groups(self, config):
            return [replace(super().groups(config)[0], schedule=PlateauSchedule())]

    config = toys.config(selection=None, schedule=ConstantSchedule())
    with pytest.raises(ConfigError, match="the plateau schedule of all watches a metric; set selection"):
        make_fit(Own(toys.net(), toys.classes), config)
