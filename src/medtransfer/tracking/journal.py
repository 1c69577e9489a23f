"""The journal of a run: one JSON line per event, appended before anything reaches a tracking store.

Lines go to the operating system at once (unbuffered), so a killed process loses nothing that it recorded; a line
that the kill cut in two is removed when the journal is opened again.
"""

import fcntl
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtransfer.errors import TrackingError

EVENTS = "events.jsonl"


@dataclass(frozen=True)
class Event:
    """One line of a journal: sequence number from 0, Unix time in seconds, kind, and the rest of the line."""

    seq: int
    time: float
    kind: str
    body: dict[str, Any]


def read_events(path: Path, offset: int = 0) -> tuple[list[Event], int]:
    """Read the whole lines of a journal from a byte offset on; return them and the offset behind the last one.

    Raises:
        TrackingError: a whole line is not an event, or sequence numbers do not count up by one.
    """
    with path.open("rb") as handle:
        handle.seek(offset)
        data = handle.read()
    whole = data[: data.rfind(b"\n") + 1]
    events = [_parse(line, path) for line in whole.splitlines()]
    first = events[0].seq if events and offset else 0
    for expected, event in enumerate(events, first):
        if event.seq != expected:
            raise TrackingError(f"{path.name}: event {event.seq} is where {expected} belongs: restore the file")
    return events, offset + len(whole)


class Journal:
    """Appends events to ``folder/events.jsonl``; one process at a time may hold it.

    Attributes:
        path: The file.
        events: What the file held when it was opened.

    Raises:
        TrackingError: another process holds the journal, or it is damaged before its last line.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / EVENTS
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _cut_torn_line(self._file)
            self.events, self._size = read_events(self.path)
        except BlockingIOError:
            os.close(self._file)
            raise TrackingError(
                f"{self.path.name}: another process is recording this run: wait until it ends"
            ) from None
        except TrackingError:
            os.close(self._file)
            raise
        self._next = len(self.events)
        self._points = {(key, step) for key, step, _ in points(self.events)}

    def append(self, kind: str, body: Mapping[str, Any]) -> None:
        """Append one event.

        Raises:
            TrackingError: the disk refused it (full, read-only); the journal is left as it was before.
        """
        event = {"seq": self._next, "time": time.time(), "kind": kind, **body}
        line = (json.dumps(event, allow_nan=False, ensure_ascii=False) + "\n").encode()
        try:
            if os.write(self._file, line) != len(line):
                raise OSError(f"only part of {len(line)} bytes written")
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise TrackingError(f"{self.path.name}: cannot record an event ({error}): free disk space") from error
        self._size += len(line)
        self._next += 1

    def append_points(self, values: Mapping[str, float], step: int) -> int:
        """Append metric points that the journal lacks at this step; return how many were new."""
        new = {key: float(value) for key, value in values.items() if (key, step) not in self._points}
        if new:
            self.append("metrics", {"step": step, "values": {key: _encode(value) for key, value in new.items()}})
            self._points.update((key, step) for key in new)
        return len(new)

    def close(self) -> None:
        """Flush to disk and let other processes open the journal."""
        if self._file >= 0:
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1


def points(events: list[Event]) -> Iterator[tuple[str, int, float]]:
    """Yield ``(key, step, value)`` of every metric point, in order."""
    for event in events:
        if event.kind == "metrics":
            for key, value in event.body["values"].items():
                yield key, event.body["step"], float(value)


def _encode(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)  # JSON knows no NaN; float("nan") reads it back


def _parse(line: bytes, path: Path) -> Event:
    try:
        body = json.loads(line)
        return Event(body.pop("seq"), body.pop("time"), body.pop("kind"), body)
    except (ValueError, KeyError, AttributeError) as error:
        raise TrackingError(f"{path.name}: {line[:60]!r} is not an event: restore the file") from error


def _cut_torn_line(file: int) -> None:
    """Remove bytes behind the last newline, which a kill during the write left there."""
    size = os.fstat(file).st_size
    data = os.pread(file, size, 0)
    os.ftruncate(file, data.rfind(b"\n") + 1)
