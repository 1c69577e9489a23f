"""Runs below another run, found by its run key; runs whose process is gone are closed by others."""

import pytest

from medtransfer.tracking import close_run, open_run
from medtransfer.tracking.journal import EVENTS, Journal, read_events
from medtransfer.tracking.mlflow_tracker import _opening
from medtransfer.tracking.store import client, find_run


def key_of(folder):
    return read_events(folder / EVENTS)[0][0].body["run_key"]


def test_a_run_is_shown_below_the_one_that_it_names(here, spec):
    with open_run(spec, here / "above"):
        pass
    key = key_of(here / "above")
    with open_run(spec.model_copy(update={"name": "trial", "nested_in": key}), here / "below"):
        pass
    store = client()
    above, below = (find_run(store, key_of(here / name), spec.experiment) for name in ("above", "below"))
    assert below.data.tags["mlflow.parentRunId"] == above.info.run_id
    assert "mlflow.parentRunId" not in above.data.tags


def test_a_run_whose_upper_run_the_store_lacks_keeps_its_key(here, spec):
    with open_run(spec.model_copy(update={"nested_in": "b" * 32}), here / "below"):
        pass
    tags = find_run(client(), key_of(here / "below"), spec.experiment).data.tags
    assert (tags["nested_in"], "mlflow.parentRunId" in tags) == ("b" * 32, False)


@pytest.fixture
def left_open(here, spec):
    """The journal of a process that was killed."""
    journal = Journal(here / "records")
    journal.append("open", _opening(spec, {"versions": {}, "machine": {}, "git_commit": None, "git_dirty": None}))
    journal.close()
    return here / "records"


def test_a_run_that_a_killed_process_left_open_is_closed_once(left_open, spec):
    for _ in range(2):
        close_run(left_open, "KILLED", {"reason": "its process ended"})
    run = find_run(client(), key_of(left_open), spec.experiment)
    assert (run.info.status, run.data.tags["reason"]) == ("KILLED", "its process ended")
    assert [event.kind for event in read_events(left_open / EVENTS)[0]] == ["open", "tags", "status"]


def test_there_may_be_no_run_to_close(here):
    close_run(here / "nothing", "KILLED", {})
    assert not (here / "nothing").exists()
