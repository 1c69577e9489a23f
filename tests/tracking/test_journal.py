"""The journal loses nothing, doubles nothing, and says what is wrong with a damaged file."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtransfer.errors import TrackingError
from medtransfer.tracking.journal import EVENTS, Journal, points, read_events


def test_events_come_back_in_order_with_their_numbers(tmp_path):
    journal = Journal(tmp_path)
    for step in range(5):
        journal.append_points({"loss": step / 3, "bad": float("nan")}, step)
    journal.close()
    events, offset = read_events(tmp_path / EVENTS)
    assert [event.seq for event in events] == list(range(5))
    assert offset == (tmp_path / EVENTS).stat().st_size
    assert [value for key, _, value in points(events) if key == "loss"] == [step / 3 for step in range(5)]
    assert all(value != value for key, _, value in points(events) if key == "bad")


def test_points_that_are_logged_again_after_a_resume_are_dropped(tmp_path):
    first = Journal(tmp_path)
    first.append_points({"a": 1.0}, 0)
    first.append_points({"a": 2.0, "b": 3.0}, 1)
    first.close()
    second = Journal(tmp_path)
    assert second.append_points({"a": 2.5}, 1) == 0
    assert second.append_points({"a": 4.0, "b": 3.0}, 2) == 2
    second.close()
    expected = [("a", 0, 1.0), ("a", 1, 2.0), ("b", 1, 3.0), ("a", 2, 4.0), ("b", 2, 3.0)]
    assert list(points(read_events(tmp_path / EVENTS)[0])) == expected


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(min_value=0, max_value=400))
def test_a_kill_at_any_byte_leaves_a_journal_that_goes_on(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("torn")
    journal = Journal(folder)
    for step in range(4):
        journal.append_points({"a": float(step)}, step)
    journal.close()
    file = folder / EVENTS
    file.write_bytes(file.read_bytes()[:cut])
    whole = file.read_bytes().count(b"\n")
    again = Journal(folder)
    for step in range(4):
        again.append_points({"a": float(step)}, step)
    again.close()
    assert len(again.events) == whole
    assert list(points(read_events(file)[0])) == [("a", step, float(step)) for step in range(4)]


def test_reading_from_an_offset_leaves_an_unfinished_line_for_later(tmp_path):
    journal = Journal(tmp_path)
    journal.append("text", {"x": 1})
    _, offset = read_events(tmp_path / EVENTS)
    with (tmp_path / EVENTS).open("ab") as handle:
        handle.write(b'{"seq": 1, "ti')
    assert read_events(tmp_path / EVENTS, offset) == ([], offset)
    journal.close()


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    (tmp_path / EVENTS).write_text('{"seq": 0, "time": 1, "kind": "a"}\nrubbish\n')
    with pytest.raises(TrackingError, match=r"events.jsonl: b'rubbish' is not an event: restore"):
        Journal(tmp_path)


def test_a_missing_line_is_noticed(tmp_path):
    lines = [json.dumps({"seq": seq, "time": 1, "kind": "a"}) + "\n" for seq in (0, 2)]
    (tmp_path / EVENTS).write_text("".join(lines))
    with pytest.raises(TrackingError, match="event 2 is where 1 belongs"):
        Journal(tmp_path)


def test_two_recorders_of_one_run_are_refused(tmp_path):
    journal = Journal(tmp_path)
    with pytest.raises(TrackingError, match="another process is recording this run"):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


def test_a_full_disk_leaves_the_journal_whole(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    journal.append("a", {})
    real = os.write

    def full(file: int, data: bytes) -> int:
        real(file, data[:7])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(TrackingError, match=r"No space left on device.*free disk space"):
            journal.append_points({"x": 1.0}, 0)
    assert journal.append_points({"x": 1.0}, 0) == 1
    journal.close()
    assert [event.kind for event in read_events(Path(tmp_path) / EVENTS)[0]] == ["a", "metrics"]
