"""A stage: tracked, resumable, whole or absent. The store is MLflow's own on SQLite."""

import csv
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from safetensors.torch import load_file

from medtransfer.errors import DataError, TrainingError
from medtransfer.files import read_json
from medtransfer.models.weights import load_model
from medtransfer.tracking.journal import EVENTS
from medtransfer.tracking.mlflow_tracker import RUN
from medtransfer.tracking.shipping import NOTE
from medtransfer.tracking.store import prepare_store
from medtransfer.tracking.tracker import MemoryTracker
from medtransfer.training import run as run_module
from medtransfer.training.initialization import READY_MADE
from medtransfer.training.run import Plan, run_plan, write_history
from medtransfer.training.selection import SelectionConfig, finite
from medtransfer.training.supervised import SupervisedTask


@pytest.fixture
def here(tmp_path, monkeypatch, toys):
    """A workspace in which runs are tracked in memory; returns it and the trackers in order."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.dvc").write_text(toys.pointer)
    trackers = []

    @contextmanager
    def open_run(spec, folder):
        folder.mkdir(parents=True, exist_ok=True)
        trackers.append(MemoryTracker())
        yield trackers[-1]

    monkeypatch.setattr(run_module, "open_run", open_run)
    monkeypatch.setattr(run_module, "finish", lambda folder: (folder / "run.json").write_text("{}"))
    return tmp_path, trackers


@pytest.fixture
def fit(data, engine, toys):
    def make(seed=0, **changes):
        return toys.spec(data, engine, seed, **changes)

    return make


@pytest.fixture
def run(engine, toys):
    """Run fits as one stage."""

    def all_of(*fits, then=None, **setting):
        run_plan(Plan(fits=fits, then=then), toys.setting(engine, **setting))

    return all_of


def test_fits_can_start_from_weights_that_the_same_plan_writes(fit, engine, toys):
    order = []

    def then(reached):
        order.append(("then", list(reached)))
        return [fit()]

    run_plan(Plan(write=lambda: order.append("write"), then=then), toys.setting(engine))
    assert order == ["write", ("then", [])]
    assert (WEIGHTS / "seed0/model.safetensors").is_file()


class Failing(SupervisedTask):
    """Breaks behind the fourth step."""

    def after_step(self, progress):
        if progress > 0.6:
            raise DataError("stopped on purpose")


def outputs(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


OUT = Path("out/toy_study")
WEIGHTS = OUT / "weights/finetune/net/all"


def test_every_seed_has_weights_records_and_a_run_of_its_own(here, fit, run):
    workspace, trackers = here
    run(fit(0), fit(1))
    assert outputs(workspace / OUT) == [
        f"{kind}/finetune/net/all/seed{seed}/{name}"
        for kind, names in (("records", ("history.csv", "run.json")), ("weights", ("config.json", "model.safetensors")))
        for seed in (0, 1)
        for name in names
    ]
    assert len(trackers) == 2
    keys = {key for key, _, _ in trackers[0].points}
    assert {"best/auroc_ill", "fit/best_step", "fit/steps", "fit/epochs", "fit/seconds", "train/loss"} <= keys


def test_weights_are_described_by_the_task_and_named_by_the_fit(here, fit, run):
    workspace, _ = here
    run(fit(1))
    _, description = load_model(workspace / WEIGHTS / "seed1")
    assert description["heads"]["label"].outputs == ("healthy", "ill")
    names = {"study": "toy_study", "phase": "finetune", "variant": "net", "condition": "all", "seed": "1"}
    assert names.items() <= description["extra"]["fit"].items()


def test_what_was_counted_in_the_data_is_tracked_before_the_first_step(here, fit, run):
    _, trackers = here
    run(fit(counts={"data/images": 24}))
    assert trackers[0].points[0] == ("data/images", 0, 24.0)


@pytest.mark.parametrize(("largest", "state"), [(0.0099, "asleep"), (0.01, "awake")])
def test_a_run_says_whether_the_inserted_layers_are_awake(largest, state, here, fit, run, toys, capsys):
    """Judged are the weights that were kept: of two validations the first, which is the better one."""
    scores = iter([(0.9, largest), (0.8, 0.5 - largest)])

    def validate(task):
        auroc, change = next(scores)
        return {"val/auroc_ill": auroc, "inserted/change_max": change}

    train = toys.config(steps=6, selection=SelectionConfig(metric="val/auroc_ill"))
    run(fit(train=train, validate=validate))
    assert here[1][0].recorded_tags == {"inserted_layers": state}
    assert ("the inserted layers are asleep" in capsys.readouterr().err) == (state == "asleep")


def test_a_network_without_inserted_layers_is_neither(here, fit, run):
    run(fit())
    assert here[1][0].recorded_tags == {}


class Both(SupervisedTask):
    """Learns from a batch of each of two loaders."""

    def losses(self, batch):
        parts = {name: super(Both, self).losses(part)["total"] for name, part in batch.items()}
        return parts | {"total": sum(parts.values())}


def test_two_loaders_reach_one_task_together(here, fit, run, data, toys):
    workspace, trackers = here
    loaders = {"ours": toys.loader(data), "theirs": toys.loader(data, seed=7)}
    run(fit(task=Both, data={"ours": data, "theirs": data}, loaders=loaders))
    assert {"train/loss_ours", "train/loss_theirs"} <= {key for key, _, _ in trackers[0].points}
    assert load_model(workspace / WEIGHTS / "seed0")[1]["extra"]["dataset"] == "toy"


def test_a_finished_seed_is_kept_when_another_fails(here, fit, run, capsys):
    workspace, trackers = here
    with pytest.raises(DataError):
        run(fit(0), fit(1, task=Failing))
    assert not (workspace / "out").exists()
    run(fit(0), fit(1))
    assert "net · all · seed 0: already trained, kept" in capsys.readouterr().err
    assert len(trackers) == 3
    assert (workspace / WEIGHTS / "seed0/model.safetensors").exists()


def test_a_new_seed_or_condition_trains_nothing_else_again(here, fit, run, capsys):
    workspace, trackers = here
    run(fit(0))
    before = (workspace / WEIGHTS / "seed0/model.safetensors").read_bytes()
    shutil.rmtree(workspace / "out")  # what DVC does before it runs a stage again
    run(fit(0), fit(1), fit(0, condition="tenth"))
    assert len(trackers) == 3
    assert capsys.readouterr().err.count("already trained, kept") == 1
    assert (workspace / WEIGHTS / "seed0/model.safetensors").read_bytes() == before


def test_other_parameters_code_or_data_train_again_and_say_what_changed(here, fit, run, capsys):
    _, trackers = here
    run(fit())
    run(fit(lr=0.2))
    assert "settings.optimizer.lr: 0.1 -> 0.2" in capsys.readouterr().err
    run(fit(lr=0.2), code="another")
    assert "code: '' -> 'another'" in capsys.readouterr().err
    assert len(trackers) == 3


def test_only_the_newest_identity_of_a_fit_stays_in_the_scratch_folder(here, fit, run):
    workspace, _ = here
    run(fit())
    run(fit(lr=0.2))
    kept = list((workspace / ".scratch/fits").rglob("done.json"))
    assert len(kept) == 1


def test_outputs_share_their_bytes_with_the_scratch_folder(here, fit, run):
    workspace, _ = here
    run(fit())
    assert (workspace / WEIGHTS / "seed0/model.safetensors").stat().st_nlink == 2


def test_a_finished_fit_whose_weights_were_damaged_is_trained_again(here, fit, run, capsys):
    workspace, trackers = here
    run(fit())
    file = next((workspace / ".scratch/fits").rglob("model.safetensors"))
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    run(fit())
    assert "not the files that the fit wrote; training again" in capsys.readouterr().err
    assert len(trackers) == 2


def test_a_stage_that_was_stopped_goes_on_and_ends_the_same(here, fit, run, capsys):
    workspace, _ = here
    run(fit(variant="straight"))
    with pytest.raises(DataError):
        run(fit(variant="stopped", task=Failing))
    run(fit(variant="stopped"))
    assert "resumed at step 3 of 6" in capsys.readouterr().err
    straight, stopped = (workspace / OUT / "weights/finetune" / name / "all/seed0" for name in ("straight", "stopped"))
    assert (straight / "model.safetensors").read_bytes() == (stopped / "model.safetensors").read_bytes()


def test_trials_decide_what_is_trained_then_and_are_not_repeated(here, fit, run, capsys):
    workspace, trackers = here
    trials = [fit(0, lr=lr, condition=f"all-trial{lr}", trial=True) for lr in (0.1, 0.2)]
    heard = []

    def then(reached, task=SupervisedTask):
        heard.append(list(reached))
        return [fit(1, task=task)]

    with pytest.raises(DataError):
        run(*trials, then=lambda reached: then(reached, Failing))
    run(*trials, then=then)
    assert heard[0] == heard[1]
    assert [0 <= metrics["val/auprc_ill"] <= 1 for metrics in heard[0]] == [True, True]
    assert capsys.readouterr().err.count("already trained, kept") == 2
    assert len(trackers) == 4
    variant = workspace / OUT / "weights/finetune/net"
    assert {path.name for path in variant.iterdir()} == {"all", "all-trial0.1", "all-trial0.2"}


def test_a_plan_can_write_weights_without_training(here, engine, toys):
    written = []
    run_plan(Plan(write=lambda: written.append(1)), toys.setting(engine))
    assert written == [1]


def test_an_undefined_metric_is_null():
    assert finite({"val/auroc": float("nan"), "val/auprc": 0.5}) == {"val/auroc": None, "val/auprc": 0.5}


def test_a_kill_while_outputs_are_put_in_place_loses_nothing(here, fit, run, monkeypatch):
    workspace, trackers = here
    copy, calls = shutil.copytree, []

    def copy_twice(source, target, **options):
        calls.append(target)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return copy(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(run_module.shutil, "copytree", copy_twice)
        with pytest.raises(KeyboardInterrupt):
            run(fit(0), fit(1))
    shutil.rmtree(workspace / "out")  # what DVC does before it runs a stage again
    run(fit(0), fit(1))
    assert len(trackers) == 2
    assert len(outputs(workspace / "out")) == 8


def test_a_folder_with_foreign_files_is_not_replaced(here, fit, run):
    workspace, _ = here
    mine = workspace / WEIGHTS / "seed0" / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(DataError, match=r"notes\.txt"):
        run(fit())
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("name", [RUN, EVENTS, NOTE, READY_MADE])
def test_records_of_any_earlier_fit_or_start_are_replaced(name, here, fit, run):
    """One fit was shipped to a store and the next was not, or its weights were ready-made before."""
    workspace, _ = here
    record = workspace / OUT / "records/finetune/net/all/seed0" / name
    record.parent.mkdir(parents=True)
    record.write_text("earlier")
    run(fit())
    assert {file.name for file in record.parent.iterdir()} == {"history.csv", "run.json"}


def test_a_failing_fit_leaves_no_outputs(here, fit, run):
    workspace, _ = here

    class Broken(SupervisedTask):
        def losses(self, batch):
            return {"total": super().losses(batch)["total"] * float("inf")}

    with pytest.raises(TrainingError):
        run(fit(task=Broken))
    assert not (workspace / "out").exists()


def test_history_columns_come_in_order_of_first_appearance(tmp_path):
    write_history(tmp_path / "a" / "history.csv", [{"step": 1.0, "b": 2.0}, {"step": 2.0, "a": 3.0}])
    with (tmp_path / "a" / "history.csv").open() as handle:
        assert list(csv.reader(handle)) == [["step", "b", "a"], ["1.0", "2.0", ""], ["2.0", "", "3.0"]]


WORKER = Path(__file__).with_name("killed_worker.py")


def run_worker(data, workspace, kills):
    environment = {k: v for k, v in os.environ.items() if k not in ("DVC_ROOT", "MLFLOW_TRACKING_URI")}
    command = [sys.executable, str(WORKER), str(data.folder), str(workspace), str(kills)]
    done = subprocess.run(
        command, env=environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def tracked(workspace):
    """The only run of a workspace's store: its id and every metric's points."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{workspace / 'mlflow.db'}")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert len(runs) == 1
    history = {key: client.get_metric_history(runs[0].info.run_id, key) for key in runs[0].data.metrics}
    return runs[0].info, {key: [(p.step, p.value) for p in points] for key, points in history.items()}


@pytest.mark.slow
def test_ten_kills_leave_the_same_weights_one_run_and_no_doubled_point(data, tmp_path):
    found = {}
    for name, kills in (("straight", 0), ("killed", 10)):
        workspace = tmp_path / name
        workspace.mkdir()
        if found:
            shutil.copy(tmp_path / "empty.db", workspace / "mlflow.db")
        else:
            prepare_store(f"sqlite:///{workspace / 'mlflow.db'}")
            shutil.copy(workspace / "mlflow.db", tmp_path / "empty.db")
        assert run_worker(data, workspace, kills) == kills
        info, points = tracked(workspace)
        assert info.status == "FINISHED"
        assert read_json(workspace / "out/toy_study/records/finetune/net/all/seed5/run.json")["run_id"] == info.run_id
        found[name] = load_file(workspace / "out/toy_study/weights/finetune/net/all/seed5/model.safetensors"), points
    (weights, points), (killed_weights, killed_points) = found["straight"], found["killed"]
    assert all((weights[name] == killed_weights[name]).all() for name in weights)
    assert len(points["train/loss"]) == 8
    timed = {"train/images_per_second", "fit/seconds"}
    for key in points.keys() | killed_points.keys():
        assert len({step for step, _ in killed_points[key]}) == len(killed_points[key]), key
        if key not in timed:
            assert sorted(killed_points[key]) == sorted(points[key]), key
    lines = (tmp_path / "killed/out/toy_study/records/finetune/net/all/seed5/events.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["kind"] == "open" for line in lines) == 1
