"""Any address works or is refused clearly, and a fresh database opened by eight processes becomes one schema."""

import subprocess
import sys

import pytest

from medtransfer.errors import TrackingError
from medtransfer.tracking import open_run, prepare_store
from medtransfer.tracking.address import portable_uri, tracking_uri
from medtransfer.tracking.health import store_state
from medtransfer.tracking.store import client, experiment_id


def test_the_default_is_an_absolute_file_in_the_workspace(here):
    assert tracking_uri() == f"sqlite:///{here / 'mlflow.db'}"


def test_the_environment_is_honoured_and_an_argument_wins(here, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracker:5000")
    assert tracking_uri() == "http://tracker:5000"
    assert tracking_uri("sqlite:///x.db") == "sqlite:///x.db"


@pytest.mark.parametrize("uri", ["file:./mlruns", "./mlruns", "ftp://x"])
def test_an_address_that_cannot_work_is_refused_before_training(here, spec, uri):
    with pytest.raises(TrackingError, match="use sqlite:///"), open_run(spec, here / "scratch", uri=uri):
        pass


def test_portable_addresses_hold_no_secret_and_no_folder(here):
    assert portable_uri("postgresql+psycopg://ann:secret@db.example:5432/runs?x=1") == (
        "postgresql+psycopg://db.example:5432/runs"
    )
    assert portable_uri(f"sqlite:///{here / 'a' / 'mlflow.db'}") == "sqlite:///a/mlflow.db"
    assert portable_uri("sqlite:////somewhere/else/mlflow.db") == "sqlite:///mlflow.db"
    assert portable_uri("https://user:pw@host/path") == "https://host/path"


def test_artefacts_lie_in_the_workspace(here):
    store = client()
    made = experiment_id(store, "study", description="why")
    assert experiment_id(store, "study") == made
    assert store.get_experiment(made).artifact_location == (here / "mlartifacts" / "study").as_uri()


def test_a_deleted_experiment_is_named(here):
    store = client()
    store.delete_experiment(experiment_id(store, "study"))
    with pytest.raises(TrackingError, match="experiment 'study' was deleted"):
        experiment_id(store, "study")


def test_a_database_of_another_version_is_refused_and_kept(here):
    import sqlite3

    with sqlite3.connect(here / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    with pytest.raises(TrackingError, match=r"sqlite:///mlflow\.db: the tracking store"):
        prepare_store()
    assert (here / "mlflow.db").stat().st_size > 100_000


def test_a_database_server_that_is_down_is_reported_within_seconds(here):
    with pytest.raises(TrackingError, match=r"postgresql\+psycopg://127.0.0.1:9/runs: the tracking database does not"):
        prepare_store("postgresql+psycopg://ann:secret@127.0.0.1:9/runs")


def record_in_eight_processes(folder, spec, uri):
    script = (
        "import sys; from pathlib import Path; from medtransfer.tracking import RunSpec, open_run, finish, shipping\n"
        "folder = Path(sys.argv[2]); shipping.CLOSE_SECONDS = 600  # nothing is late on a busy machine\n"
        "with open_run(RunSpec.model_validate_json(sys.argv[1]), folder, uri=sys.argv[3]) as tracker:\n"
        "    for step in range(50): tracker.metrics({'a': step, 'b': step}, step)\n"
        "assert finish(folder)['run_id'], 'not shipped'\n"
    )
    command = [sys.executable, "-c", script, spec.model_dump_json()]
    children = [
        subprocess.Popen([*command, f"run{i}", uri], stderr=subprocess.PIPE, text=True, cwd=folder) for i in range(8)
    ]
    errors = [child.communicate()[1] for child in children]
    assert [child.returncode for child in children] == [0] * 8, errors


def check_eight_runs(store, spec):
    runs = store.search_runs([store.get_experiment_by_name(spec.experiment).experiment_id])
    assert len(runs) == 8
    for run in runs:
        assert run.info.status == "FINISHED"
        assert [point.step for point in store.get_metric_history(run.info.run_id, "a")] == list(range(50))


@pytest.mark.slow
def test_eight_processes_open_one_fresh_database_and_each_records_its_run(here, spec):
    record_in_eight_processes(here, spec, f"sqlite:///{here / 'fresh.db'}")
    check_eight_runs(client(f"sqlite:///{here / 'fresh.db'}"), spec)


@pytest.mark.slow
@pytest.mark.postgres
def test_looking_at_an_empty_database_makes_no_tables(postgres):
    for _ in range(2):
        assert store_state(postgres) == "not made yet; the first run makes its tables"
    prepare_store(postgres)
    assert store_state(postgres) == "1 experiments"


@pytest.mark.slow
@pytest.mark.postgres
def test_postgresql_takes_runs_and_credentials_stay_out_of_the_record(here, spec, postgres):
    from medtransfer.tracking import finish

    with open_run(spec, here / "scratch", uri=postgres) as tracker:
        for step in range(50):
            tracker.metrics({"a": float(step), "nan": float("nan")}, step)
    saved = finish(here / "scratch")
    assert "secret" not in str(saved)
    assert saved["tracking_uri"].startswith("postgresql+psycopg://127.0.0.1:")
    assert len(client(postgres).get_metric_history(saved["run_id"], "a")) == 50


@pytest.mark.slow
@pytest.mark.postgres
def test_eight_processes_open_one_fresh_postgresql(here, spec, postgres):
    record_in_eight_processes(here, spec, postgres)
    check_eight_runs(client(postgres), spec)


HALF_MADE = {
    "empty": [],
    "first tables": ["CREATE TABLE runs (x)", "CREATE TABLE experiments (x)"],
    "between two versions": ["CREATE TABLE runs (x)", "CREATE TABLE alembic_version (version_num)"],
}


@pytest.mark.parametrize("steps", HALF_MADE.values(), ids=HALF_MADE)
def test_a_store_whose_making_was_killed_is_made_again(here, steps):
    import sqlite3

    database = here / "mlflow.db"
    database.unlink(missing_ok=True)
    with sqlite3.connect(database) as store:
        for step in steps:
            store.execute(step)
        if len(steps) == 2 and "alembic_version" in steps[1]:
            store.execute("INSERT INTO alembic_version VALUES ('451aebb31d03')")
    database.touch()
    assert client().search_experiments()
    assert (here / "mlflow.db.half-made-0").exists()


def test_a_kill_while_the_schema_is_made_leaves_no_store(here, monkeypatch):
    (here / "mlflow.db").unlink(missing_ok=True)

    def killed(path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("medtransfer.tracking.database._write_schema", killed)
    with pytest.raises(KeyboardInterrupt):
        client()
    assert not (here / "mlflow.db").exists()
