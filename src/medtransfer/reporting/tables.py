"""What of a table is shown: columns without a value go into a note, words of a verdict get a badge."""

import re
from dataclasses import replace
from typing import Any

from medtransfer.reporting.content import Table
from medtransfer.reporting.formatting import MISSING, NOT_PRINTED

_EMPTY = ("", MISSING.main, NOT_PRINTED.main)
BADGES = {
    "does not hold": "against",
    "holds": "for",
    "no difference": "none",
    "not decidable": "open",
    "not distinguishable": "open",
    "too few patients": "open",
    "confounded": "against",
    "suspicious": "against",
    "no sign": "for",
    "cannot tell": "open",
}
"""Words of a verdict and the class of their badge; a verdict is a whole cell, or follows a colon or bracket."""


def shown(table: Table) -> Table:
    """Return a table without its columns of numbers that have no value in any row; a note names them."""
    empty = [
        place
        for place, column in enumerate(table.columns)
        if column.number and table.rows and all(row[place].main in _EMPTY for row in table.rows)
    ]
    if not empty or len(empty) == sum(column.number for column in table.columns):
        return table
    names = [
        " ".join(part for part in (table.columns[place].group, table.columns[place].name) if part) for place in empty
    ]
    kept = [place for place in range(len(table.columns)) if place not in empty]
    return replace(
        table,
        columns=tuple(table.columns[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in table.rows),
        notes=(*table.notes, f"Not available, so not shown: {', '.join(names)}."),
    )


def badged(markup: Any) -> Any:
    """Return a text of the page with a badge on its verdict: the whole text, or what follows its last colon."""
    from markupsafe import Markup

    return Markup(_VERDICT.sub(lambda m: f'{m[1]}<b class="badge {BADGES[m[2]]}">{m[2]}</b>', str(markup), count=1))


_VERDICT = re.compile(rf"(^|: |\()({'|'.join(BADGES)})(?=$|[.,;:]| \()")
