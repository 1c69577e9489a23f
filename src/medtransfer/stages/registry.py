"""``medtransfer registry log|promote|rollback MODEL``: which version has an alias, and why; move it by hand."""

from argparse import Namespace
from datetime import UTC, datetime
from getpass import getuser

from medtransfer.tracking.promotions import Promotion, promote, promotions, rollback


def run(options: Namespace) -> None:
    """Run the action and print one line for every log entry that it read or wrote."""
    if options.action == "log":
        entries = promotions(options.model, options.alias)
    elif options.action == "promote":
        entries = [promote(options.model, options.version, options.alias, options.why, who=_who())]
    else:
        entries = [rollback(options.model, options.alias, why=options.why, who=_who())]
    for entry in entries:
        print(line(options.model, entry))  # noqa: T201
    if not entries:
        print(f"{options.model}@{options.alias}: never promoted")  # noqa: T201


def line(model: str, entry: Promotion) -> str:
    """Return the line of a log entry: when, model and alias, from which version to which, by whom and why."""
    moved = datetime.fromtimestamp(entry.time, UTC).strftime("%Y-%m-%d %H:%M UTC")
    before = f"version {entry.previous} → {entry.version}" if entry.previous else f"version {entry.version}"
    return f"{moved} · {model}@{entry.alias} · {before} · {entry.who} · {entry.why}"


def _who() -> str:
    try:
        return getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "a user without a name"
