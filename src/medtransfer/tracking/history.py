"""The log of an alias for people: lines on the screen, and a table in the description of the registered model."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from medtransfer.tracking.promotions import Promotion, in_force
from medtransfer.tracking.refusals import refused
from medtransfer.tracking.store import client

_TITLE = "## History"
_SHOWN = 20


def as_line(model: str, entry: Promotion) -> str:
    """Return when an alias moved, from which version to which, by whom and why, in one line."""
    before = f"version {entry.previous} → {entry.version or 'none'}" if entry.previous else f"version {entry.version}"
    parts = [_moment(entry), f"{model}@{entry.alias}", before, entry.who, entry.why]
    return " · ".join([*parts, f"override: {entry.override}"] if entry.override else parts)


def of_day(entries: Sequence[Promotion], day: date) -> list[Promotion]:
    """Return the entry in force when a day (UTC) began, and those of the day."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    at_start, at_end = (in_force(entries, moment.timestamp()) for moment in (start, start + timedelta(days=1)))
    first = entries.index(at_start) if at_start else 0
    return list(entries[first : entries.index(at_end) + 1]) if at_end else []


def describe(model: str, about: str, *, uri: str | None = None) -> None:
    """Write the description of a registered model; its history below stays."""
    _write(model, about, None, uri)


def refresh(model: str, entries: Sequence[Promotion], *, uri: str | None = None) -> None:
    """Write the history below the description of a registered model, which MLflow's pages show above its versions."""
    _write(model, None, entries, uri)


def _write(model: str, about: str | None, entries: Sequence[Promotion] | None, uri: str | None) -> None:
    store = client(uri)
    with refused(store, f"{model}: no such registered model: register one first"):
        now = store.get_registered_model(model).description or ""
        head, _, tail = now.partition(_TITLE)
        head, tail = (head if about is None else about).strip(), tail if entries is None else _table(entries)
        text = "\n\n".join(part for part in (head, f"{_TITLE}{tail}" if tail else "") if part)
        if text != now:
            store.update_registered_model(model, text)


def _table(entries: Sequence[Promotion]) -> str:
    if not entries:
        return ""
    rows = [
        f"| {_moment(entry)} | {entry.alias} | {entry.previous or '–'} | {entry.version or '–'} | {_cell(entry.who)} "
        f"| {_cell(entry.why)} | {_cell(entry.override) or '–'} |"
        for entry in reversed(entries[-_SHOWN:])
    ]
    head = ["| when | alias | from | to | who | why | override |", "|---|---|---|---|---|---|---|"]
    return "\n\n" + "\n".join([*head, *rows])


def _moment(entry: Promotion) -> str:
    return datetime.fromtimestamp(entry.time, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
