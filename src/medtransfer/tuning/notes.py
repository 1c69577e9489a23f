"""The mark that adoption leaves in params.yaml at each value that a search chose."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import labels

PATTERN = re.compile(r"tuning\.(?P<search>\S+) trial (?P<trial>\d+) of (?P<trials>\d+)")


class Note(NamedTuple):
    """The search, the trial whose values were adopted, and how many trials it was chosen from."""

    search: str
    trial: int
    trials: int

    @property
    def text(self) -> str:
        """As it is written in a comment."""
        return f"tuning.{self.search} trial {self.trial} of {self.trials}"


def notes_in(text: str) -> list[Note]:
    """Return the adoptions that the text of params.yaml names, each once."""
    found = (Note(m["search"], int(m["trial"]), int(m["trials"])) for m in PATTERN.finditer(text))
    return list(dict.fromkeys(found))


def tuned_table(notes: Sequence[Note], keys: Mapping[str, Sequence[str]]) -> Table | None:
    """Return which parameters of a study a search chose, and from how many trials; None when none was.

    Args:
        notes: the adoptions that params.yaml names (``notes_in``).
        keys: search → keys of its space.
    """
    rows = [
        (TableCell(key), TableCell(note.search), TableCell(str(note.trial)), TableCell(str(note.trials)))
        for note in notes
        for key in keys.get(note.search, [])
    ]
    if not rows:
        return None
    return Table(
        "tuned",
        "Tuned parameters",
        "Values that a search chose on validation rows, and the number of trials behind each.",
        (*labels("Key", "Search"), Column("Trial"), Column("Chosen from")),
        tuple(rows),
    )
