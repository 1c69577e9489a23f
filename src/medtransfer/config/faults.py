"""What pydantic finds wrong, in the words of this project: one short line per fault."""

import difflib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from pydantic import ValidationError

KEY = "[key]"
"""Marks, in the location of a validation error, that the error is about a key and not about its value."""
SHOWN = 60
"""Longest part of a wrong value that is repeated."""
EXPECTED = {
    "greater_than": "a number above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "at most {le}",
    "finite_number": "a finite number",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
    "string_pattern_mismatch": "text that matches {pattern}",
    "literal_error": "{expected}",
    "union_tag_invalid": "one of {expected_tags} as {discriminator}",
    "union_tag_not_found": "a mapping with the key {discriminator}",
    "string_type": "text",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "dict": "a mapping",
    "model": "a mapping",
    "tuple": "a list",
    "list": "a list",
}
"""Pydantic's kind of a fault, or the first word of it → what was expected, with the fault's own numbers."""


def explain(error: ValidationError, known: Callable[[], Collection[str]]) -> list[str]:
    """Return ``dotted.path: what is wrong`` for every fault.

    A misspelt key is one fault and not two: the key that is missing because of it is not named again.

    Args:
        error: what pydantic raised.
        known: gives the names of all keys, to suggest the one that was meant.
    """
    entries = error.errors()
    missing = {entry["loc"] for entry in entries if entry["type"] == "missing"}
    lines, meant = [], set()
    within = {entry["loc"][:n] for entry in entries for n in range(len(entry["loc"]))}
    for entry in entries:
        if entry["type"] == "too_short" and entry["loc"] in within:
            continue  # too short because of what is wrong in it
        if entry["type"] == "extra_forbidden":
            above, key = entry["loc"][:-1], str(entry["loc"][-1])
            beside = difflib.get_close_matches(key, [str(loc[-1]) for loc in missing if loc[:-1] == above], n=1)
            meant |= {(*above, name) for name in beside}
            close = beside or difflib.get_close_matches(key, known(), n=2)
            what = f"did you mean {' or '.join(close)}?" if close else "remove it"
            lines.append((entry["loc"], f"unknown key; {what}"))
        elif entry["type"] == "missing":
            lines.append((entry["loc"], "missing; add it"))
        else:
            lines.append((entry["loc"], _wrong(entry)))
    return [f"{_place(loc)}: {what}" for loc, what in lines if not (loc in meant and what.startswith("missing"))]


def _wrong(entry: Mapping[str, Any]) -> str:
    kind, context = entry["type"], entry.get("ctx", {})
    expected = EXPECTED.get(kind) or EXPECTED.get(kind.partition("_")[0])
    found = repr(entry["input"])
    found = found if len(found) <= SHOWN else f"{found[:SHOWN]}…"
    if expected is None:
        return f"{entry['msg'].removeprefix('Value error, ')} (found {found})"
    hint = "; put it in quotes" if kind == "string_type" and isinstance(entry["input"], (bool, int, float)) else ""
    return f"expected {expected.format(**context)} (found {found}){hint}"


def _place(location: tuple[Any, ...]) -> str:
    """Return the dotted path, escaped where it would break the line."""
    parts = [str(part) for part in location if part != KEY]
    return ".".join(part if part.isprintable() else repr(part)[1:-1] for part in parts)
