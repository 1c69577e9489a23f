"""Stopped at any step and continued, a fit ends as if nothing had happened, bit for bit."""

import numpy as np
import pytest
import torch

from medtransfer.data.loaders import Regions
from medtransfer.errors import CheckpointError
from medtransfer.ssl.multiscale import MultiScale, MultiScaleConfig
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.optim import AdamConfig, CosineSchedule, PlateauSchedule, SGDConfig
from medtransfer.training.selection import SelectionConfig
from medtransfer.training.self_supervised import SelfSupervisedTask
from medtransfer.training.supervised import SupervisedTask


class StopError(Exception):
    """Stands for a kill."""


def stop_after(fit, step, *, saved=True):
    """Make the fit fail at a step: behind its resume file, or in the middle of the step."""
    if not saved:
        count = [0]

        def fail(progress):
            count[0] += 1
            if fit.progress.step == step:
                raise StopError

        fit.task.after_step = fail
        return fit
    save = fit._save

    def save_and_stop():
        save()
        if fit.progress.step == step:
            raise StopError

    fit._save = save_and_stop
    return fit


def outcome(fit, result, toys):
    return toys.weights(fit.task), result.history, result.best_step, result.metrics, result.steps


def assert_same(a, b, toys):
    assert toys.equal(a[0], b[0])
    assert a[1:] == b[1:]


SETTINGS = {
    "sgd": {"optimizer": SGDConfig(lr=0.1), "schedule": CosineSchedule(warmup_steps=2), "clip_norm": 1.0},
    "adamw": {"optimizer": AdamConfig(name="adamw", lr=0.01, weight_decay=0.1)},
    "plateau": {
        "optimizer": SGDConfig(lr=0.1),
        "schedule": PlateauSchedule(patience=1),
        "selection": SelectionConfig(metric="val/brier_ill", mode="max"),
        "validate_every": 2,
    },
    "epochs": {"optimizer": SGDConfig(lr=0.1), "steps": None, "epochs": 4, "validate_every": 1},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_fit_stopped_at_any_step_ends_the_same(name, make_fit, toys, tmp_path):
    config = toys.config(**SETTINGS[name])
    straight = make_fit(config=config, scratch=tmp_path / "straight")
    expected = outcome(straight, straight.run(), toys)
    for step in range(1, 13) if name == "sgd" else (1, 5, 6, 11):
        scratch = tmp_path / f"stopped{step}"
        with pytest.raises(StopError):
            stop_after(make_fit(config=config, scratch=scratch), step).run()
        again = make_fit(SupervisedTask(toys.net(seed=99), toys.classes), config, scratch=scratch)
        assert_same(outcome(again, again.run(), toys), expected, toys)


def test_many_stops_in_the_middle_of_steps_end_the_same(make_fit, toys, tmp_path):
    straight = make_fit(scratch=tmp_path / "straight")
    expected = outcome(straight, straight.run(), toys)
    for step in (1, 2, 2, 5, 6, 7, 12):
        with pytest.raises(StopError):
            stop_after(make_fit(), step, saved=False).run()
    last = make_fit()
    assert_same(outcome(last, last.run(), toys), expected, toys)


def self_supervised(make_fit, data, toys, scratch):
    config = MultiScaleConfig(dim=4, queue=16, momentum=0.9)
    task = SelfSupervisedTask(MultiScale(config, toys.net(), images=24, batch_size=8), toys.classes)
    boxes = np.tile(np.array([0, 0, 9, 9], np.float32), (40, 5, 1)) + np.arange(5, dtype=np.float32)[:, None]
    loader = toys.loader(data, views=2, regions=Regions(boxes, 8))
    return make_fit(task, toys.config(selection=None), loader, validate=None, scratch=scratch)


def test_key_encoder_and_queue_resume_exactly(make_fit, data, toys, tmp_path):
    straight = self_supervised(make_fit, data, toys, tmp_path / "straight")
    expected = outcome(straight, straight.run(), toys)
    assert {"contrast.queue.keys", "contrast.key_encoder.body.0.weight"} <= expected[0].keys()
    assert {"train/loss", "train/loss_contrastive", "train/loss_region"} <= expected[1][0].keys()
    for step in (1, 2, 4, 7, 9, 11):
        scratch = tmp_path / f"stopped{step}"
        with pytest.raises(StopError):
            stop_after(self_supervised(make_fit, data, toys, scratch), step).run()
        again = self_supervised(make_fit, data, toys, scratch)
        assert_same(outcome(again, again.run(), toys), expected, toys)


def test_an_undefined_metric_survives_the_resume(make_fit, toys):
    def validate():
        return {"val/score": 1.0, "val/f1": float("nan")}

    config = toys.config(selection=SelectionConfig(metric="val/score"))
    with pytest.raises(StopError):
        stop_after(make_fit(config=config, validate=validate), 7).run()
    history = make_fit(config=config, validate=validate).run().history
    assert [np.isnan(row["val/f1"]) for row in history] == [True] * 4


def test_a_resume_says_where_it_goes_on(make_fit, capsys):
    with pytest.raises(StopError):
        stop_after(make_fit(), 7).run()
    make_fit().run()
    assert "toy: resumed at step 7 of 12" in capsys.readouterr().err


def damage(file):
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_a_damaged_resume_file_falls_back_and_says_so(make_fit, toys, tmp_path, capsys):
    straight = make_fit(scratch=tmp_path / "straight")
    expected = outcome(straight, straight.run(), toys)
    with pytest.raises(StopError):
        stop_after(make_fit(), 7).run()
    damage(tmp_path / "resume" / "state-7.safetensors")
    again = make_fit()
    assert_same(outcome(again, again.run(), toys), expected, toys)
    said = capsys.readouterr().err
    assert "state-7.safetensors is damaged or missing; falling back to the generation before it" in said
    assert "resumed at step 6 of 12" in said


def test_two_damaged_resume_files_are_refused(make_fit, tmp_path):
    with pytest.raises(StopError):
        stop_after(make_fit(), 7).run()
    damage(tmp_path / "resume" / "state-7.safetensors")
    (tmp_path / "resume" / "state-6.safetensors").unlink()
    with pytest.raises(CheckpointError, match="resume: no resume file is whole; delete the folder to start this fit"):
        make_fit().run()


def test_the_precision_of_fp16_resumes_with_its_scale(make_fit, toys, tmp_path):
    half = Engine(HardwareConfig(device="cpu", precision="fp16"))
    straight = make_fit(engine=half, scratch=tmp_path / "straight")
    expected = outcome(straight, straight.run(), toys)
    with pytest.raises(StopError):
        stop_after(make_fit(engine=half), 5).run()
    again = make_fit(engine=half)
    assert_same(outcome(again, again.run(), toys), expected, toys)
    assert again.scaler.get_scale() == straight.scaler.get_scale()
    assert torch.isfinite(expected[0]["head.weight"]).all()


class Both(SupervisedTask):
    """Learns from a batch of each of two loaders."""

    def losses(self, batch):
        return {"total": sum(super(Both, self).losses(part)["total"] for part in batch.values())}


def test_two_loaders_with_epochs_of_their_own_resume_exactly(make_fit, data, toys, tmp_path):
    def fit(scratch, seed=0):
        loaders = {"eight": toys.loader(data), "three": toys.loader(data, batch_size=3, seed=7)}
        return make_fit(Both(toys.net(seed=seed), toys.classes), toys.config(), loaders, scratch=tmp_path / scratch)

    straight = fit("straight")
    assert len({loader.steps for loader in straight.loaders.values()}) == 2
    expected = outcome(straight, straight.run(), toys)
    for step in (1, 4, 8):
        with pytest.raises(StopError):
            stop_after(fit(f"stopped{step}"), step).run()
        again = fit(f"stopped{step}", seed=99)
        assert_same(outcome(again, again.run(), toys), expected, toys)
