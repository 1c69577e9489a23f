"""``medtransfer registry log|promote|rollback|relink``: which version has an alias, and why; move it by hand."""

from argparse import Namespace
from getpass import getuser

from medtransfer.evaluation.noninferiority import compare_models
from medtransfer.tracking.history import as_line, of_day, refresh
from medtransfer.tracking.promotions import promote, promotions, rollback
from medtransfer.tracking.relinking import relink


def run(options: Namespace) -> None:
    """Run the action and print one line for every log entry that it read or wrote."""
    if options.action == "relink":
        print(f"{relink()} locations now point into this workspace")  # noqa: T201
        return
    model, alias, moved = options.model, options.alias, []
    if options.action == "promote":
        chosen = {"override": options.override, "compare": compare_models}
        moved = [promote(model, options.version, alias, options.why, who=_who(), **chosen)]
    elif options.action == "rollback":
        moved = [rollback(model, alias, why=options.why, who=_who())]
    entries = promotions(model, alias)
    refresh(model, entries)
    shown = moved or (of_day(entries, options.on) if options.on else entries)
    for entry in shown:
        print(as_line(model, entry))  # noqa: T201
    if not shown:
        print(f"{model}@{alias}: never promoted" + (f" until {options.on} (UTC)" if options.on else ""))  # noqa: T201


def _who() -> str:
    try:
        return getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "a user without a name"
