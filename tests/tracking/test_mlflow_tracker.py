"""One fit is one MLflow run, whatever happens to the process, the store or the files in between."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from medtransfer.errors import TrackingError
from medtransfer.files import read_json, write_sealed
from medtransfer.tracking import append, finish, import_run, open_run, replay
from medtransfer.tracking.store import RUN_KEY, client

DOWN = "http://127.0.0.1:9"


def only_run(store):
    experiments = [e.experiment_id for e in store.search_experiments()]
    (run,) = store.search_runs(experiments)
    return run


def history(store, run, key):
    return [(point.step, point.value) for point in store.get_metric_history(run.info.run_id, key)]


def record(spec, folder, steps, *, uri=None):
    with open_run(spec, folder, uri=uri) as tracker:
        for step in steps:
            tracker.metrics({"train/loss": 1 / (step + 1)}, step)
        tracker.text("notes/a.txt", "hello")
    return finish(folder)


def test_a_run_arrives_whole(here, spec):
    saved = record(spec, here / "scratch", range(20))
    store = client()
    run = only_run(store)
    assert run.info.run_id == saved["run_id"]
    assert run.info.status == "FINISHED"
    assert run.info.run_name.endswith(f" · {spec.name}")
    assert run.data.params == {"optim.lr": "0.1", "layers": "[1, 2]"}
    assert run.data.tags[RUN_KEY] == saved["run_key"]
    assert run.data.tags["phase"] == "finetune"
    assert run.data.tags["parent_run"] == "a" * 32
    assert history(store, run, "train/loss") == [(step, 1 / (step + 1)) for step in range(20)]
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest, data.tags[0].value) == ("ct", spec.datasets[0].digest, "train")
    assert [item.path for item in store.list_artifacts(run.info.run_id, "notes")] == ["notes/a.txt"]
    assert store.get_experiment(run.info.experiment_id).tags["mlflow.note.content"] == "Does attention transfer?"


def test_run_json_holds_no_credentials_and_no_absolute_folder(here, spec, monkeypatch):
    saved = record(spec, here / "scratch", range(2))
    assert saved["tracking_uri"] == "sqlite:///mlflow.db"
    assert saved["status"] == "FINISHED"
    assert saved["data"] == {"ct": spec.datasets[0].digest}
    for file in ("run.json", "shipped.json", "events.jsonl"):
        text = (here / "scratch" / file).read_text()
        assert str(here) not in text
        assert str(Path.home()) + "/" not in text


def test_exceptions_and_interrupts_end_the_run_with_their_status(here, spec):
    for error, status in ((ValueError("x"), "FAILED"), (KeyboardInterrupt(), "KILLED")):
        folder = here / status
        with pytest.raises(type(error)), open_run(spec, folder):
            raise error
        assert client().get_run(finish(folder)["run_id"]).info.status == status


def test_a_resumed_run_is_the_same_run_without_doubled_points(here, spec):
    for steps in (range(6), range(4, 10)):
        with open_run(spec, here / "scratch") as tracker:
            for step in steps:
                tracker.metrics({"train/loss": float(step)}, step)
    store = client()
    run = only_run(store)
    assert run.info.status == "FINISHED"
    assert run.data.tags["resumes"] == "1"
    assert history(store, run, "train/loss") == [(step, float(step)) for step in range(10)]


def test_a_folder_of_another_run_is_refused(here, spec):
    record(spec, here / "scratch", range(2))
    other = spec.model_copy(update={"params": {"optim": {"lr": 0.2}}})
    with (
        pytest.raises(TrackingError, match="scratch holds a run with params_fingerprint"),
        open_run(other, here / "scratch"),
    ):
        pass


@pytest.mark.slow
def test_a_run_killed_without_warning_goes_on_as_the_same_run(here, spec):
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from medtransfer.tracking import RunSpec, open_run
        from medtransfer.tracking import shipping
        shipping.FLUSH_SECONDS = 0.2
        with open_run(RunSpec.model_validate_json(sys.argv[1]), Path("scratch")) as tracker:
            for step in range(10_000):
                tracker.metrics({"train/loss": float(step)}, step)
                print(step, flush=True)
                time.sleep(0.005)
    """)
    command = [sys.executable, "-c", script, spec.model_dump_json()]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        if int(line) >= 120:
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    with open_run(spec, here / "scratch") as tracker:
        for step in range(100, 300):
            tracker.metrics({"train/loss": float(step)}, step)
    store = client()
    run = only_run(store)
    assert run.info.status == "FINISHED"
    assert history(store, run, "train/loss") == [(step, float(step)) for step in range(300)]


def test_a_store_that_is_down_does_not_stop_training_and_is_caught_up_once(here, spec, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    saved = record(spec, here / "scratch", range(30), uri=DOWN)
    assert saved["run_id"] is None
    assert "the events wait in the journal for a replay" in caplog.text
    sent = replay(here / "scratch")
    assert sent == 34  # opening, parameters, 30 points, text, status
    assert replay(here / "scratch") == 0
    store = client()
    run = only_run(store)
    assert run.info.status == "FINISHED"
    assert history(store, run, "train/loss") == [(step, 1 / (step + 1)) for step in range(30)]
    assert finish(here / "scratch")["run_id"] == run.info.run_id


def test_a_store_that_goes_down_between_two_batches_misses_and_doubles_nothing(here, spec, monkeypatch):
    import mlflow

    from medtransfer.tracking import shipping

    real, calls = mlflow.MlflowClient.log_batch, []

    def flaky(self, run_id, **batch):
        real(self, run_id, **batch)
        calls.append(batch)
        if len(calls) == 4:  # the batch arrived, but its answer did not
            raise mlflow.exceptions.MlflowException("connection lost")

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", flaky)
    monkeypatch.setattr(shipping, "_MAX_METRICS", 8)
    record(spec, here / "scratch", range(40))
    monkeypatch.undo()
    monkeypatch.chdir(here)
    replay(here / "scratch")
    store = client()
    assert history(store, only_run(store), "train/loss") == [(step, 1 / (step + 1)) for step in range(40)]


def test_a_record_is_imported_once_and_left_untouched(here, spec):
    saved = record(spec, here / "records", range(5))
    before = {path: path.stat().st_mtime_ns for path in (here / "records").rglob("*")}
    elsewhere = f"sqlite:///{here / 'other.db'}"
    shutil.copy(here / "mlflow.db", here / "other.db")
    fresh = client(elsewhere)
    fresh.delete_run(saved["run_id"])
    imported = import_run(here / "records", uri=elsewhere)
    assert import_run(here / "records", uri=elsewhere) == imported != saved["run_id"]
    run = only_run(fresh)
    assert run.data.tags[RUN_KEY] == saved["run_key"]
    assert run.info.status == "FINISHED"
    assert history(fresh, run, "train/loss") == [(step, 1 / (step + 1)) for step in range(5)]
    assert [item.path for item in fresh.list_artifacts(imported)] == ["notes"]
    assert {path: path.stat().st_mtime_ns for path in (here / "records").rglob("*")} == before


def test_importing_where_the_run_exists_returns_it(here, spec):
    saved = record(spec, here / "records", range(2))
    assert import_run(here / "records") == saved["run_id"]
    only_run(client())


def test_a_record_with_a_foreign_artefact_name_is_refused(here, spec, template):
    record(spec, here / "records", range(2))
    events = here / "records" / "events.jsonl"
    events.write_text(events.read_text().replace("notes/a.txt", "../../mlflow.db"))
    with pytest.raises(TrackingError, match="not a plain relative path"):
        import_run(here / "records", uri=f"sqlite:///{shutil.copy(template, here / 'other.db')}")


def test_a_record_of_two_runs_is_refused(here, spec):
    record(spec, here / "records", range(2))
    content = read_json(here / "records" / "run.json")
    write_sealed(here / "records" / "run.json", content | {"run_key": "b" * 32})
    with pytest.raises(TrackingError, match="belong to different runs"):
        import_run(here / "records")
    (here / "records" / "run.json").unlink()
    with pytest.raises(TrackingError, match="not a readable record of a run"):
        import_run(here / "records")


def test_a_later_stage_appends_to_the_run_of_the_record_and_not_twice(here, spec):
    saved = record(spec, here / "records", range(2))
    for value in (0.7, 0.7, 0.8):
        with append(here / "records") as tracker:
            tracker.metrics({"test/auroc": value}, 0)
            tracker.tags({"evaluated": "yes"})
            tracker.text("evaluation.txt", str(value))
    store = client()
    run = only_run(store)
    assert run.info.run_id == saved["run_id"]
    assert run.info.status == "FINISHED"
    assert [value for _, value in history(store, run, "test/auroc")] == [0.7, 0.8]
    assert run.data.tags["evaluated"] == "yes"
    assert not list((here / ".scratch" / "tracking").rglob("events.jsonl"))


def test_appended_events_wait_for_a_store_that_is_down(here, spec, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    record(spec, here / "records", range(2))
    with append(here / "records", uri=DOWN) as tracker:
        tracker.metrics({"test/auroc": 0.7}, 0)
    assert "wait for the next one" in caplog.text
    with append(here / "records") as tracker:
        tracker.metrics({"test/auprc": 0.6}, 0)
    store = client()
    assert only_run(store).data.metrics.keys() >= {"test/auroc", "test/auprc"}
    assert not list((here / ".scratch" / "tracking").rglob("events.jsonl"))


def test_a_failed_stage_appends_nothing(here, spec):
    record(spec, here / "records", range(2))

    def evaluate():
        with append(here / "records") as tracker:
            tracker.metrics({"test/auroc": 0.7}, 0)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        evaluate()
    assert "test/auroc" not in only_run(client()).data.metrics


def test_an_open_run_cannot_be_finished(here, spec):
    with open_run(spec, here / "scratch"), pytest.raises(TrackingError, match="the run is not closed"):
        finish(here / "scratch")
    with pytest.raises(TrackingError, match=r"no events\.jsonl"):
        finish(here / "absent")


def test_nothing_but_our_own_environment_reaches_mlflow(here, spec):
    record(spec, here / "scratch", range(2))
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_score_at_an_earlier_step_of_a_curve_is_appended_once(here, spec):
    """The fit's curve goes on to step 9; the score's point at step 0 is not the newest of its key."""
    record(spec, here / "records", range(10))
    for _ in range(3):
        with append(here / "records") as tracker:
            tracker.metrics({"a": 0.25, "nan": float("nan")}, 0)
    store = client()
    run = only_run(store)
    assert [value for step, value in history(store, run, "a") if step == 0].count(0.25) == 1
    assert len(history(store, run, "nan")) == 1


def test_results_have_three_decimals_in_the_store_and_all_in_the_journal(here, spec):
    with open_run(spec, here / "records") as tracker:
        tracker.metrics({"best/auroc": 0.123456, "train/loss": 0.123456}, 1)
    values = only_run(client()).data.metrics
    assert values == {"best/auroc": 0.123, "train/loss": 0.123456}
    assert "0.123456" in (here / "records" / "events.jsonl").read_text()
