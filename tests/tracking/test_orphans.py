"""Runs of killed processes are closed with the reason at the next start; runs of living ones are left alone."""

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from medtransfer.files import read_json, write_json
from medtransfer.tracking import open_run
from medtransfer.tracking.journal import EVENTS, read_events
from medtransfer.tracking.open_runs import marks
from medtransfer.tracking.orphans import close_orphans
from medtransfer.tracking.store import client, find_run

DOWN = "http://127.0.0.1:9"
GONE = "import os; from medtransfer.processes import this_process; print(this_process())"


@pytest.fixture(scope="module")
def gone():
    """The mark of a process that has ended."""
    return subprocess.run([sys.executable, "-c", GONE], check=True, capture_output=True, text=True).stdout.strip()


def killed(spec, folder):
    """Record a run in a process that is killed when the store has its first point; return the run key."""
    script = textwrap.dedent("""
        import os, signal, sys, time
        from pathlib import Path
        from medtransfer.tracking import RunSpec, open_run, shipping
        with open_run(RunSpec.model_validate_json(sys.argv[1]), Path(sys.argv[2])) as tracker:
            tracker.metrics({"train/loss": 1.0}, 0)
            while not Path(sys.argv[2], shipping.NOTE).exists():
                time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    subprocess.run([sys.executable, "-c", script, spec.model_dump_json(), str(folder)], check=False)
    return read_events(folder / EVENTS)[0][0].body["run_key"]


def in_store(key, spec):
    return find_run(client(), key, spec.experiment)


def move(file, **changes):
    write_json(file, read_json(file) | changes)


def test_a_killed_run_is_closed_once_and_can_be_resumed(here, spec):
    key = killed(spec, here / "scratch")
    assert in_store(key, spec).info.status == "RUNNING"
    assert list(close_orphans()) == [f"attentive_transfer run {key[:12]}: closed as KILLED; its process ended"]
    assert list(close_orphans()) == []
    run = in_store(key, spec)
    assert (run.info.status, run.data.tags["interrupted"]) == ("KILLED", "its process ended without closing the run")
    with open_run(spec, here / "scratch"):
        pass
    assert in_store(key, spec).info.status == "FINISHED"


def test_runs_of_the_living_of_other_machines_and_of_other_stores_are_left_alone(here, spec, gone):
    with open_run(spec, here / "scratch"):
        (file,) = marks().glob("*.json")
        mine = read_json(file)
        assert list(close_orphans()) == []
        move(file, process=f"000000-{gone.split('-', 1)[1]}")
        assert list(close_orphans()) == []
        move(file, process=gone, store="sqlite:///elsewhere.db")
        assert list(close_orphans()) == []
        assert read_events(here / "scratch" / EVENTS)[0][-1].kind != "status"
        move(file, **mine)
    assert not list(marks().glob("*.json"))


def test_a_run_that_another_process_goes_on_with_is_left_to_it(here, spec, gone, caplog):
    with open_run(spec, here / "scratch") as tracker:
        (file,) = marks().glob("*.json")
        move(file, process=gone)
        assert list(close_orphans()) == []
        tracker.tags({"still": "open"})
    assert "another process is recording this run" in caplog.text


def test_the_end_of_a_run_whose_store_was_down_arrives_later(here, spec, gone, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with open_run(spec, here / "scratch", uri=DOWN):
        pass
    (file,) = marks().glob("*.json")
    assert Path(read_json(file)["folder"]) == Path("scratch")  # a project may be moved
    move(file, process=gone)
    assert list(close_orphans(uri=DOWN)) == []  # still down: warned of, and nothing is lost
    move(file, store="sqlite:///mlflow.db")
    before = (here / "scratch" / EVENTS).read_bytes()
    (line,) = close_orphans()
    assert line.endswith(f"run {file.stem[:12]}: the store has all of it now")
    assert in_store(file.stem, spec).info.status == "FINISHED"
    assert (here / "scratch" / EVENTS).read_bytes() == before


def test_a_run_whose_records_were_deleted_is_closed_in_the_store(here, spec):
    key = killed(spec, here / "scratch")
    shutil.rmtree(here / "scratch")
    (line,) = close_orphans()
    assert line.endswith("closed as KILLED; its process ended and its records were deleted")
    run = in_store(key, spec)
    assert (run.info.status, run.data.tags["interrupted"]) == ("KILLED", "its process ended without closing the run")
    assert not (here / "scratch").exists()


def test_a_damaged_mark_is_named(here, caplog):
    marks().mkdir(parents=True)
    (marks() / f"{'a' * 32}.json").write_text("{")
    assert list(close_orphans()) == []
    assert "not a readable mark of an open run; delete it" in caplog.text
