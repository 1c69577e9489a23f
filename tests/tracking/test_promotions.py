"""The log of an alias: it agrees with the alias after any kill, whatever clocks say and whoever moves the alias."""

import json
import subprocess
import sys
import time
from datetime import date
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

from medtransfer.errors import TrackingError
from medtransfer.tracking import promote, promotions, rollback
from medtransfer.tracking.history import of_day, refresh
from medtransfer.tracking.ledger import Ledger
from medtransfer.tracking.store import client, prepare_store

NAME = "raced"
DAY = 86_400
PROMOTIONS = import_module("medtransfer.tracking.promotions")  # the package exports a function of this name


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


def die(*_):
    raise Killed


def killed_before(step, action, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(step, die)
        with pytest.raises(Killed):
            action()


@pytest.fixture
def model(here, monkeypatch):
    """A registered model with four versions whose gates are open."""
    monkeypatch.setattr(PROMOTIONS, "examine", lambda *_, **__: [])
    monkeypatch.setattr(PROMOTIONS, "WAIT_SECONDS", 0.1)
    store = client()
    store.create_registered_model(NAME)
    for number in range(1, 5):
        store.create_model_version(NAME, f"nowhere/{number}", tags={"sha256": f"hash {number}"})
    return store


def alias(store):
    return int(store.get_registered_model(NAME).aliases.get("champion", 0))


def moves():
    return [(entry.previous, entry.version, entry.kind) for entry in promotions(NAME, "champion")]


@pytest.mark.parametrize("step", ["set_registered_model_alias", "done", "never"])
def test_log_and_alias_agree_after_a_kill_at_any_step(model, monkeypatch, step):
    promote(NAME, 1, "champion", "first")

    with monkeypatch.context() as patch:
        if step == "done":
            patch.setattr(Ledger, "done", die)
        elif step != "never":
            patch.setattr("mlflow.MlflowClient.set_registered_model_alias", die)
        try:
            promote(NAME, 2, "champion", "second")
        except Killed:
            assert step != "never"
    assert moves() == [(0, 1, "promote"), (1, 2, "promote")]
    assert alias(model) == 2
    assert rollback(NAME, "champion").version == 1
    assert alias(model) == 1


def test_a_killed_rollback_is_carried_out_by_the_next_look(model, monkeypatch):
    promote(NAME, 1, "champion", "first")
    promote(NAME, 2, "champion", "second")

    killed_before("mlflow.MlflowClient.set_registered_model_alias", lambda: rollback(NAME, "champion"), monkeypatch)
    assert alias(model) == 2
    assert moves()[-1] == (2, 1, "rollback")
    assert alias(model) == 1


def test_a_killed_first_use_leaves_a_ledger_that_works(model, monkeypatch):
    killed_before("mlflow.MlflowClient.rename_experiment", lambda: promote(NAME, 1, "champion", "first"), monkeypatch)
    promote(NAME, 1, "champion", "first")
    assert moves() == [(0, 1, "promote")]
    names = [each.name for each in model.search_experiments()]
    assert names.count("registry") == 1
    assert not [name for name in names if name.startswith("registry-draft")]


def test_a_clock_that_was_set_back_reorders_nothing(model, monkeypatch):
    for version, now in ((1, 10.5 * DAY), (2, 20.5 * DAY), (3, 5.5 * DAY)):
        with monkeypatch.context() as patch:
            patch.setattr(PROMOTIONS.time, "time", lambda now=now: now)
            promote(NAME, version, "champion", "better")
    assert moves() == [(0, 1, "promote"), (1, 2, "promote"), (2, 3, "promote")]
    log = promotions(NAME, "champion")
    on = {day: [entry.version for entry in of_day(log, date.fromisoformat(day))] for day in
          ("1970-01-06", "1970-01-11", "1970-01-15", "1970-01-21", "1970-03-01")}  # fmt: skip
    assert on == {"1970-01-06": [], "1970-01-11": [1], "1970-01-15": [1], "1970-01-21": [1, 2, 3], "1970-03-01": [3]}
    assert rollback(NAME, "champion").version == 2


def test_a_repeated_promotion_is_no_entry_and_does_not_mislead_a_rollback(model):
    for version in (1, 2, 2):
        promote(NAME, version, "champion", "better")
    assert moves() == [(0, 1, "promote"), (1, 2, "promote")]
    assert rollback(NAME, "champion").version == 1
    promote(NAME, 2, "champion", "better after all")
    promote(NAME, 1, "champion", "no")
    assert rollback(NAME, "champion").version == 2


def test_moves_in_the_pages_are_seen_and_can_be_rolled_back(model):
    promote(NAME, 1, "champion", "first")
    model.set_registered_model_alias(NAME, "champion", "3")
    assert moves() == [(0, 1, "promote"), (1, 3, "outside")]
    assert rollback(NAME, "champion").version == 1
    promote(NAME, 2, "champion", "second")
    model.delete_registered_model_alias(NAME, "champion")
    assert moves()[-1] == (2, 0, "outside")
    assert rollback(NAME, "champion").version == 2
    assert rollback(NAME, "champion").version == 1
    with pytest.raises(TrackingError, match="no earlier version"):
        rollback(NAME, "champion")


def test_an_alias_older_than_the_log_is_its_first_entry(model):
    model.set_registered_model_alias(NAME, "champion", "2")
    promote(NAME, 3, "champion", "better")
    assert moves() == [(0, 2, "outside"), (2, 3, "promote")]


def test_of_two_promoters_at_once_the_slower_is_told_who_won(model, monkeypatch):
    promote(NAME, 1, "champion", "first")

    def meanwhile(*_, **__):
        monkeypatch.setattr(PROMOTIONS, "examine", lambda *_, **__: [])
        promote(NAME, 2, "champion", "faster", who="ann")
        return []

    monkeypatch.setattr(PROMOTIONS, "examine", meanwhile)
    with pytest.raises(TrackingError, match=r"raced@champion: ann moved it to version 2 meanwhile \(faster\)"):
        promote(NAME, 3, "champion", "slower", who="bob")
    assert moves() == [(0, 1, "promote"), (1, 2, "promote")]


def test_a_writer_that_comes_late_does_not_undo_later_moves(model, monkeypatch):
    """It claimed an entry and slept; others carried the entry out and went on; then it sets the alias."""
    promote(NAME, 1, "champion", "first")
    set_alias = type(model).set_registered_model_alias

    def late(store, name, key, version):
        monkeypatch.setattr("mlflow.MlflowClient.set_registered_model_alias", set_alias)
        promote(NAME, 3, "champion", "third")
        set_alias(store, name, key, version)

    monkeypatch.setattr("mlflow.MlflowClient.set_registered_model_alias", late)
    promote(NAME, 2, "champion", "second")
    assert moves() == [(0, 1, "promote"), (1, 2, "promote"), (2, 3, "promote")]
    assert alias(model) == 3


def test_a_version_deleted_after_its_entry_does_not_block_the_log(model, monkeypatch):
    promote(NAME, 1, "champion", "first")

    killed_before(
        "mlflow.MlflowClient.set_registered_model_alias", lambda: promote(NAME, 2, "champion", "second"), monkeypatch
    )
    model.delete_model_version(NAME, "2")
    assert moves() == [(0, 1, "promote"), (1, 2, "promote"), (2, 1, "outside")]


def test_the_history_is_a_table_in_the_description_and_no_tag(model):
    promote(NAME, 1, "champion", "a | b <i>")
    refresh(NAME, promotions(NAME, "champion"))
    found = model.get_registered_model(NAME)
    assert found.tags == {}
    assert "| champion | – | 1 | pipeline | a \\| b &lt;i> | – |" in found.description


def test_a_deleted_history_is_named(model):
    promote(NAME, 1, "champion", "first")
    model.delete_experiment(model.get_experiment_by_name("registry").experiment_id)
    with pytest.raises(TrackingError, match="'registry' with the history of the registry was deleted or changed"):
        promote(NAME, 2, "champion", "second")
    assert alias(model) == 1


def race(uri, races):
    program = Path(__file__).with_name("racing.py")
    done = subprocess.run([sys.executable, program, uri, str(races)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [1] * races
    log = promotions("raced", "champion", uri=uri)
    assert len(log) == races
    assert all(after.previous == before.version for before, after in pairwise(log))
    assert int(client(uri).get_registered_model("raced").aliases["champion"]) == log[-1].version


@pytest.mark.slow
def test_fifty_races_on_sqlite_have_one_winner_each(here):
    race(f"sqlite:///{here / 'mlflow.db'}", 50)


@pytest.mark.slow
def test_fifty_races_through_a_server_have_one_winner_each(here, server):
    server.start()
    race(server.uri, 50)


@pytest.mark.slow
@pytest.mark.postgres
def test_fifty_races_on_postgresql_have_one_winner_each(here, postgres):
    prepare_store(postgres)
    started = time.monotonic()
    race(postgres, 50)
    assert time.monotonic() - started < 300
