"""A stage: tracked, resumable, whole or absent. The store is MLflow's own on SQLite."""

import csv
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from medtransfer.errors import ConfigError, DataError, TrainingError
from medtransfer.files import read_json
from medtransfer.tracking.store import prepare_store
from medtransfer.tracking.tracker import MemoryTracker, RunSpec
from medtransfer.training import run as run_module
from medtransfer.training.run import Job, code_digest, finite, run_stage, write_history
from medtransfer.training.task import SupervisedTask


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A workspace in which runs are tracked in memory; returns it and the trackers in order."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
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
def make_job(data, engine, toys):
    def make(seed=0, *, lr=0.1, task=SupervisedTask, save=None, part=""):
        def store(done, folder, result):
            folder.mkdir(parents=True)
            (folder / "model").write_text(str(sum(t.double().sum().item() for t in done.module.state_dict().values())))

        return Job(
            spec=RunSpec(experiment="toy", name=f"toy · seed {seed}"),
            identity={"train": {"lr": lr}, "seed": seed},
            seed=seed,
            config=toys.config(steps=6),
            task=lambda: task(toys.net(seed=seed), toys.classes),
            loaders=toys.loader(data, seed=seed),
            validate=toys.validation(data, engine),
            save=save or store,
            part=part,
        )

    return make


class Failing(SupervisedTask):
    """Breaks behind the fourth step."""

    def after_step(self, progress):
        if progress > 0.6:
            raise DataError("stopped on purpose")


def outputs(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_every_seed_has_weights_records_and_a_run_of_its_own(here, make_job, engine):
    workspace, trackers = here
    jobs = [make_job(0), make_job(1)]
    run_stage("toy", jobs, out=Path("out/toy"), engine=engine)
    assert outputs(workspace / "out" / "toy") == [
        f"{kind}/{file}"
        for kind, names in (("records", ("history.csv", "run.json")), ("weights", ("model",)))
        for file in (f"seed{seed}/{name}" for seed in (0, 1) for name in names)
    ]
    assert len(trackers) == 2
    keys = {key for key, _, _ in trackers[0].points}
    assert {
        "best/auroc_ill",
        "fit/best_step",
        "fit/steps",
        "fit/epochs",
        "fit/seconds",
        "train/loss",
        "val/auroc_ill",
    } <= keys
    assert outputs(workspace / ".scratch") == []


def test_what_was_counted_in_the_data_is_tracked_before_the_first_step(here, make_job, engine):
    _, trackers = here
    counted = replace(make_job(), counts={"data/images": 24})
    run_stage("toy", [counted], out=Path("out"), engine=engine)
    assert trackers[0].points[0] == ("data/images", 0, 24.0)


def test_a_finished_seed_is_kept_when_another_fails(here, make_job, engine, capsys):
    workspace, trackers = here
    with pytest.raises(DataError):
        run_stage("toy", [make_job(0), make_job(1, task=Failing)], out=Path("out"), engine=engine)
    assert not (workspace / "out").exists()
    run_stage("toy", [make_job(0), make_job(1)], out=Path("out"), engine=engine)
    assert "toy · seed 0: already trained, kept" in capsys.readouterr().err
    assert len(trackers) == 3
    assert (workspace / "out/weights/seed0/model").exists()


def test_a_stage_that_was_stopped_goes_on_and_ends_the_same(here, make_job, engine, capsys):
    workspace, _ = here
    run_stage("toy", [make_job()], out=Path("straight"), engine=engine)
    with pytest.raises(DataError):
        run_stage("toy", [make_job(task=Failing)], out=Path("stopped"), engine=engine)
    run_stage("toy", [make_job()], out=Path("stopped"), engine=engine)
    assert "resumed at step 3 of 6" in capsys.readouterr().err
    for file in ("weights/seed0/model", "records/seed0/history.csv"):
        assert (workspace / "stopped" / file).read_text() == (workspace / "straight" / file).read_text()


def test_parts_of_a_stage_have_folders_of_their_own(here, make_job, engine):
    workspace, _ = here
    run_stage("toy", [make_job(0, part="few"), make_job(0, part="all")], out=Path("out"), engine=engine)
    assert {file.rpartition("/")[0] for file in outputs(workspace / "out")} == {
        f"{part}/{kind}/seed0" for part in ("few", "all") for kind in ("weights", "records")
    }


def test_trials_decide_what_is_trained_then_and_are_not_repeated(here, make_job, engine, capsys):
    workspace, trackers = here
    trials = [make_job(0, lr=lr, part=f"trial{lr}") for lr in (0.1, 0.2)]
    heard = []

    def then(outcomes, task=SupervisedTask):
        heard.append(list(outcomes))
        return [make_job(1, part="chosen", task=task)]

    with pytest.raises(DataError):
        run_stage("toy", trials, out=Path("out"), engine=engine, then=lambda outcomes: then(outcomes, Failing))
    run_stage("toy", trials, out=Path("out"), engine=engine, then=then)
    assert heard[0] == heard[1]
    assert [0 <= outcome["val/auprc_ill"] <= 1 for outcome in heard[0]] == [True, True]
    assert capsys.readouterr().err.count("already trained, kept") == 2
    assert len(trackers) == 4
    assert {path.name for path in (workspace / "out").iterdir()} == {"trial0.1", "trial0.2", "chosen"}
    assert (workspace / "out/chosen/weights/seed1/model").exists()
    assert outputs(workspace / ".scratch") == []


def test_an_undefined_metric_is_null():
    assert finite({"val/auroc": float("nan"), "val/auprc": 0.5}) == {"val/auroc": None, "val/auprc": 0.5}


def test_other_parameters_start_anew_and_the_difference_is_printed(here, make_job, engine, capsys):
    with pytest.raises(DataError):
        run_stage("toy", [make_job(task=Failing)], out=Path("out"), engine=engine)
    run_stage("toy", [make_job(lr=0.2)], out=Path("out"), engine=engine)
    said = capsys.readouterr().err
    assert "not resuming toy from " in said
    assert ": 0.train.lr: 0.1 -> 0.2\n" in said
    assert "resumed at step" not in said


def test_other_code_starts_anew_and_says_so(here, make_job, engine, capsys, monkeypatch):
    with pytest.raises(DataError):
        run_stage("toy", [make_job(task=Failing)], out=Path("out"), engine=engine)
    monkeypatch.setattr(run_module, "code_digest", lambda: "another")
    run_stage("toy", [make_job()], out=Path("out"), engine=engine)
    said = capsys.readouterr().err
    assert ": the code changed\n" in said
    assert "resumed at step" not in said


def test_a_kill_while_outputs_are_put_in_place_loses_nothing(here, make_job, engine, monkeypatch):
    workspace, trackers = here
    copy, calls = shutil.copytree, []

    def copy_twice(source, target):
        calls.append(target)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return copy(source, target)

    jobs = [make_job(0), make_job(1)]
    with monkeypatch.context() as patch:
        patch.setattr(run_module.shutil, "copytree", copy_twice)
        with pytest.raises(KeyboardInterrupt):
            run_stage("toy", jobs, out=Path("out"), engine=engine)
    shutil.rmtree(workspace / "out")  # what DVC does before it runs a stage again
    run_stage("toy", jobs, out=Path("out"), engine=engine)
    assert len(trackers) == 2
    assert len(outputs(workspace / "out")) == 6


def test_a_folder_that_holds_something_else_is_not_replaced(here, make_job, engine):
    workspace, trackers = here
    run_stage("toy", [make_job()], out=Path("out"), engine=engine)
    note = workspace / "out/weights/seed0/notes.txt"
    note.write_text("mine")
    with pytest.raises(
        DataError, match=r"out/weights/seed0: holds 'notes.txt', expected nothing but model.safetensors"
    ):
        run_stage("toy", [make_job()], out=Path("out"), engine=engine)
    note.unlink()
    run_stage("toy", [make_job()], out=Path("out"), engine=engine)
    assert len(trackers) == 2  # nothing was trained again


@pytest.mark.parametrize("part", ["../few", "/few", "few/all", ".", "few\n"])
def test_a_part_that_is_no_plain_name_is_refused(make_job, part):
    with pytest.raises(ConfigError, match=r"part of a stage .*: not a plain name"):
        make_job(part=part)


def test_a_failing_fit_leaves_no_outputs(here, make_job, engine):
    workspace, _ = here

    class Broken(SupervisedTask):
        def losses(self, batch):
            return {"total": super().losses(batch)["total"] * float("inf")}

    with pytest.raises(TrainingError):
        run_stage("toy", [make_job(task=Broken)], out=Path("out"), engine=engine)
    assert not (workspace / "out").exists()


def test_history_columns_come_in_order_of_first_appearance(tmp_path):
    write_history(tmp_path / "a" / "history.csv", [{"step": 1.0, "b": 2.0}, {"step": 2.0, "a": 3.0}])
    with (tmp_path / "a" / "history.csv").open() as handle:
        assert list(csv.reader(handle)) == [["step", "b", "a"], ["1.0", "2.0", ""], ["2.0", "", "3.0"]]


def test_the_code_digest_follows_the_source(monkeypatch, tmp_path):
    source = tmp_path / "medtransfer"
    (source / "training").mkdir(parents=True)
    (source / "reporting").mkdir()
    (source / "__init__.py").touch()
    monkeypatch.setattr(run_module.medtransfer, "__file__", str(source / "__init__.py"))
    (source / "training" / "loop.py").write_text("a = 1\n")
    before = code_digest()
    (source / "reporting" / "page.py").write_text("b = 1\n")
    assert code_digest() == before
    (source / "training" / "loop.py").write_text("a = 2\n")
    assert code_digest() != before


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
        assert read_json(workspace / "out/records/seed5/run.json")["run_id"] == info.run_id
        found[name] = load_file(workspace / "out/weights/seed5/model.safetensors"), points
    (weights, points), (killed_weights, killed_points) = found["straight"], found["killed"]
    assert all((weights[name] == killed_weights[name]).all() for name in weights)
    assert len(points["train/loss"]) == 8
    timed = {"train/images_per_second", "fit/seconds"}
    for key in points.keys() | killed_points.keys():
        assert len({step for step, _ in killed_points[key]}) == len(killed_points[key]), key
        if key not in timed:
            assert sorted(killed_points[key]) == sorted(points[key]), key
    lines = (tmp_path / "killed/out/records/seed5/events.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["kind"] == "open" for line in lines) == 1
