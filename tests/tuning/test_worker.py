"""Workers over one storage: nothing lost, nothing double, whatever is killed or down."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from medtransfer.errors import ConfigError, TrackingError
from medtransfer.files import write_json
from medtransfer.tuning import search as search_module
from medtransfer.tuning import storage as storage_module
from medtransfer.tuning.storage import JOURNAL, folder, open_storage, patient
from medtransfer.tuning.study import REACHED, RESULT, RETRY_OF, RUNNER, counted, open_study, reclaim, trial_folder
from medtransfer.tuning.trial import Reached
from medtransfer.tuning.worker import work
from tiny_search import search_of, squared

TESTS = Path(__file__).parents[1]


def study_of(search, address=None):
    return open_study(search.name, search.config, search.space_hash, open_storage(search.name, address), address, 0)


def states(search):
    return [trial.state.name for trial in study_of(search).get_trials()]


def start(search, mode, worker=1):
    """A worker process of a search."""
    words = [search.name, str(search.config.budget.trials), str(worker), mode]
    path = os.pathsep.join((str(TESTS), str(TESTS.parent / "src")))
    return subprocess.Popen(
        [sys.executable, str(TESTS / "tiny_search.py"), *words], env=os.environ | {"PYTHONPATH": path}
    )


def test_a_search_goes_on_to_its_budget_and_no_further(here):
    assert work(search_of(trials=3), None, run=squared) == 3
    assert work(search_of(trials=5), None, run=squared) == 2
    assert work(search_of(trials=5), None, run=squared) == 0
    search = search_of(trials=5)
    trials = study_of(search).get_trials()
    assert [trial.number for trial in trials] == [0, 1, 2, 3, 4]
    assert len({trial.params["x"] for trial in trials}) == 5  # a search that goes on does not repeat its random draws


def test_a_name_of_another_space_is_refused_in_one_line(here):
    work(search_of(trials=1), None, run=squared)
    other = search_of(trials=2)
    object.__setattr__(other, "space_hash", "4567")
    with pytest.raises(ConfigError, match=r"tuning.tiny: .* another space.*hash 0123, this is 4567.*another name"):
        work(other, None, run=squared)


@pytest.mark.slow
def test_a_killed_trial_is_told_and_run_once_more(here):
    search = search_of(trials=2)
    assert start(search, "killed").wait() == -signal.SIGKILL
    assert reclaim(study_of(search), search.name) == [0]
    assert states(search) == ["FAIL", "WAITING"]
    assert start(search, "killed", 2).wait() == -signal.SIGKILL
    assert reclaim(study_of(search), search.name) == [1]  # not queued a third time
    assert states(search) == ["FAIL", "FAIL"]
    assert work(search, None, run=squared) == 1
    first, second, third = study_of(search).get_trials()
    assert (second.user_attrs[RETRY_OF], second.params, third.state.name) == (0, first.params, "COMPLETE")
    assert first.user_attrs[REACHED]["reason"] == "its process ended, so it was queued once more"
    assert [trial.number for trial in counted([first, second, third])] == [1, 2]


@pytest.mark.slow
def test_a_living_process_keeps_its_trial_and_a_reached_value_is_told(here):
    search = search_of(trials=1)
    process = start(search, "endless")
    while not (here / "running").exists():
        time.sleep(0.1)
    assert reclaim(study_of(search), search.name) == []
    write_json(trial_folder(search.name, 0) / RESULT, {"state": "COMPLETE", "values": [0.5], "reason": ""})
    process.kill()
    process.wait()
    assert reclaim(study_of(search), search.name) == [0]
    (trial,) = study_of(search).get_trials()
    assert (trial.state.name, trial.values) == ("COMPLETE", [0.5])


@pytest.mark.slow
def test_a_trial_beyond_the_memory_limit_fails_and_its_worker_goes_on(here):
    search = search_of(trials=2)
    assert start(search, "hungry").wait() == 0
    trials = study_of(search).get_trials()
    assert [trial.state.name for trial in trials] == ["FAIL", "FAIL"]
    assert trials[0].user_attrs[REACHED]["reason"] == "more memory than the 2 GiB of memory_gb"


def test_a_torn_last_line_costs_nothing_else(here, capsys):
    search = search_of(trials=3)
    work(search_of(trials=1), None, run=squared)
    journal = folder("tiny") / JOURNAL
    journal.write_bytes(journal.read_bytes() + b'{"op_code":6,"worker_i')
    assert work(search, None, run=squared) == 2
    assert "removed a last line that was cut in two" in capsys.readouterr().err
    assert states(search) == ["COMPLETE"] * 3


def test_a_torn_line_between_two_writes_of_others_is_removed_too(here):
    search = search_of(trials=2)
    study, journal = study_of(search), folder("tiny") / JOURNAL
    with journal.open("ab") as handle:
        handle.write(b'{"op_code": 4, "wor')
    study.set_user_attr("after", 1)
    assert study_of(search).user_attrs["after"] == 1
    assert all(json.loads(line) for line in journal.read_text().splitlines())


def test_a_damaged_journal_is_one_line(here):
    from medtransfer.errors import DataError

    study_of(search_of())
    journal = folder("tiny") / JOURNAL
    journal.write_text("no journal\n" + journal.read_text())
    with pytest.raises(DataError, match="damaged before its last line"):
        open_storage("tiny", None)


def test_a_storage_that_is_down_is_waited_for(here, monkeypatch, capsys):
    answers = iter([OSError("no route"), OSError("no route"), 7])

    def call():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(storage_module.time, "sleep", lambda seconds: None)
    assert patient(call, at="there") == 7
    assert capsys.readouterr().err.count("there: the storage does not answer (no route); waiting") == 1


def test_a_storage_that_stays_down_is_one_line_without_credentials(here, monkeypatch):
    monkeypatch.setattr(storage_module, "WAIT_SECONDS", 0.2)
    address = "postgresql+psycopg://ann:secret@127.0.0.1:9/runs"
    with pytest.raises(TrackingError, match=r"has not answered for .* nothing is lost") as error:
        work(search_of(), address, run=squared)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_value_that_cannot_be_told_waits_in_the_trials_folder(here, monkeypatch):
    search = search_of(trials=1)
    monkeypatch.setattr(storage_module, "WAIT_SECONDS", 0.2)

    def breaks(*arguments, **names):
        reached = squared(*arguments, **names)
        write_json(names["folder"] / RESULT, vars(reached))
        monkeypatch.setattr("medtransfer.tuning.worker._tell", down)
        return reached

    def down(*arguments):
        raise OSError("gone")

    with pytest.raises(TrackingError):
        work(search, None, run=breaks)
    study = study_of(search)
    (trial,) = study.get_trials()
    assert trial.state.name == "RUNNING"
    study._storage.set_trial_user_attr(trial._trial_id, RUNNER, trial.user_attrs[RUNNER] | {"pid": 2**22 + 1})
    assert reclaim(study, search.name) == [0]
    assert states(search) == ["COMPLETE"]


def test_a_search_whose_trials_all_fail_ends_with_the_reason(here):
    def failing(*arguments, **names):
        return Reached("FAIL", reason="val/auroc is not computed")

    with pytest.raises(ConfigError, match=r"the first 3 trials failed \(val/auroc is not computed\)"):
        work(search_of(trials=9), None, run=failing)


def test_another_address_is_refused(here):
    with pytest.raises(ConfigError, match="expected postgresql"):
        open_storage("tiny", "mysql://a:b@c/d")


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_the_search_ends_whole(here, monkeypatch):
    class Command:
        def start(self, worker):
            return start(search, "killed" if worker == 1 else "squared", worker)

    search = search_of(trials=3)
    monkeypatch.setattr(search_module, "POLL_SECONDS", 0.1)
    study = study_of(search)
    search_module._work(search, study, Command(), 1, "there")
    trials = study.get_trials()
    assert [trial.state.name for trial in trials] == ["FAIL", *["COMPLETE"] * 3]
    assert trials[1].user_attrs[RETRY_OF] == 0


def eight_workers(search):
    context = multiprocessing.get_context("fork")  # what takes seconds is imported once
    make = partial(context.Process, target=work, args=(search, None))
    processes = [make(kwargs={"worker": number, "run": squared}) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    return study_of(search).get_trials()


@pytest.mark.slow
def test_eight_workers_on_one_journal_lose_nothing_and_do_nothing_twice(here):
    trials = eight_workers(search_of(trials=40))
    assert [trial.number for trial in trials] == list(range(40))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert len({trial.user_attrs[RUNNER]["worker"] for trial in trials}) > 1
