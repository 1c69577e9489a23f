"""A store that refuses: not there, not allowed, not reachable, locked, damaged, moved; one line each."""

import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from medtransfer.cli import run
from medtransfer.errors import TrackingError
from medtransfer.tracking import finish, open_run, promotions, replay
from medtransfer.tracking.refusals import meaning, refused
from medtransfer.tracking.relinking import relink
from medtransfer.tracking.store import client

LOG = ["registry", "log", "covid-ct"]


@pytest.fixture
def answering(monkeypatch):
    """A server on loopback that answers every request with one status and no JSON."""
    servers = []

    def start(status):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(b"<html>no</html>")

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_):
                return

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "wants a login"), (403, "does not allow this to you"), (404, "is no MLflow server"), (503, "repeat later")],
)
def test_refusals_of_a_server_are_told_apart(here, answering, status, words):
    with pytest.raises(TrackingError, match=words):
        promotions("covid-ct", "champion", uri=answering(status))


def test_a_server_that_is_down_is_not_a_missing_model(here, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert run(LOG) == 2
    assert capsys.readouterr().err == (
        "medtransfer: http://127.0.0.1:9: the tracking store does not answer: start the server, or correct "
        "MLFLOW_TRACKING_URI\n"
    )


def test_a_dead_proxy_is_named(here):
    error = OSError("HTTPConnectionPool: Max retries exceeded (Caused by ProxyError('Cannot connect to proxy.'))")
    assert "cannot be reached through the proxy" in meaning("http://tracker:5000", error)


def test_a_model_that_does_not_exist_is_said_to_be_missing(here, capsys):
    assert run(LOG) == 2
    assert "covid-ct: no such registered model: register one first" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"no database at all" * 99, b"SQLite format 3\x00" + b"\xff" * 2000])
def test_a_damaged_database_is_one_line(here, capsys, content):
    (here / "mlflow.db").write_bytes(content)
    assert run(LOG) == 2
    error = capsys.readouterr().err
    assert "sqlite:///mlflow.db: the tracking store" in error
    assert "Traceback" not in error


@pytest.fixture
def locked(here, monkeypatch):
    """Lock the database as another program would; whoever waits for it gives up after 50 ms instead of 20 s."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def impatient(connection, cursor, statement, parameters, context, many):
        return statement.replace("busy_timeout = 20000", "busy_timeout = 50"), parameters

    event.listen(Engine, "before_cursor_execute", impatient, retval=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here / 'mlflow.db'}?timeout=0.05")
    holder = sqlite3.connect(here / "mlflow.db", isolation_level=None)

    def lock(kind):
        holder.execute(f"BEGIN {kind}")
        return holder

    yield lock
    holder.close()
    event.remove(Engine, "before_cursor_execute", impatient)


def test_a_database_that_is_locked_is_one_line(locked, capsys):
    locked("EXCLUSIVE")
    assert run(LOG) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "medtransfer: sqlite:///mlflow.db: the tracking store is locked by another process: wait until it ends, and "
        "repeat"
    )


def test_a_refusal_inside_a_transaction_is_told_to_be_a_lock_too(here, spec, locked):
    store = client()
    locked("IMMEDIATE")
    with pytest.raises(TrackingError, match="is locked by another process"), refused(store, "absent"):
        store.create_experiment("attentive_transfer")


def test_a_run_whose_database_is_locked_is_complete_after_a_replay(here, spec, locked, caplog):
    holder = locked("IMMEDIATE")
    with open_run(spec, here / "records") as tracker:
        tracker.metrics({"train/loss": 1.0}, 0)
    assert finish(here / "records")["run_id"] is None
    with pytest.raises(TrackingError, match="is locked by another process"):
        replay(here / "records")
    holder.execute("ROLLBACK")
    assert replay(here / "records") == 4  # opening, parameters, point, status
    run_id = finish(here / "records")["run_id"]
    assert client().get_run(run_id).data.metrics == {"train/loss": 1.0}


def test_a_folder_in_place_of_the_database_is_one_line(here, capsys):
    (here / "mlflow.db").unlink()
    (here / "mlflow.db").mkdir()
    assert run(LOG) == 2
    assert "cannot be opened: it must be a file" in capsys.readouterr().err


def test_after_a_move_relink_lets_artifacts_be_found_again(here, spec, monkeypatch):
    with open_run(spec, here / "records") as tracker:
        tracker.text("note.txt", "words")
    run_id = finish(here / "records")["run_id"]
    moved = here.with_name(f"{here.name} moved %41")
    here.rename(moved)
    monkeypatch.chdir(moved)
    assert run(["registry", "relink"]) == 0
    assert relink() == 0
    listed = client().list_artifacts(run_id)
    assert [item.path for item in listed] == ["note.txt"]
    with sqlite3.connect(moved / "mlflow.db") as store:
        (place,) = store.execute("SELECT artifact_uri FROM runs").fetchone()
    assert place.startswith("file:///")
    assert "%20moved%20%2541" in place


def test_what_lies_elsewhere_is_not_relinked(here):
    store = client()
    store.create_experiment("elsewhere", "s3://bucket/mlartifacts/elsewhere")
    assert relink() == 0
    assert store.get_experiment_by_name("elsewhere").artifact_location == "s3://bucket/mlartifacts/elsewhere"


def test_only_a_local_store_is_relinked(here):
    with pytest.raises(TrackingError, match=r"only the locations of a local mlflow\.db can be changed"):
        relink("http://127.0.0.1:9")
