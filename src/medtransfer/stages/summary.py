"""``medtransfer summary``: the answer of every study, and whether its numbers are those that are committed."""

import json
import subprocess
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtransfer import paths
from medtransfer.files import read_json
from medtransfer.reporting.content import read_summary
from medtransfer.reporting.records import TRAINED_ON
from medtransfer.studies import STUDIES
from medtransfer.training.progress import console

Row = dict[str, Any]
TOLERANCE = 0.02
"""Largest difference of a metric that counts as the same: another CPU rounds otherwise, and training carries it on."""


def run(options: Namespace) -> None:
    """Print the answers and the comparison; nothing is computed and nothing is written."""
    del options
    root = paths.workspace()
    for study in STUDIES:
        file = root / paths.report(study) / "content.json"
        if file.exists():
            found = read_summary(file.read_text(encoding="utf-8"), source=str(file))
            _say(f"{found.title}\n  " + "\n  ".join(found.headline))
    _say(compared(root))


def compared(root: Path) -> str:
    """Return in words how the metrics below ``metrics/`` compare with those of the last commit.

    A metric is the same if it differs by at most ``TOLERANCE``; another best condition is a difference too. Rows that
    differ are told apart by whether they were trained on another machine or in another precision.
    """
    before, after = _committed(root), _present(root)
    if not after:
        return "no metrics yet; run: dvc repro"
    if before is None:
        return "metrics: no commit to compare with"
    one_sided = [f"{name}: not in the commit" for name in sorted(after.keys() - before.keys())]
    one_sided += [f"{name}: in the commit alone" for name in sorted(before.keys() - after.keys())]
    both = sorted(before.keys() & after.keys())
    changed = {name: lines for name in both if (lines := _changes(before[name], after[name]))}
    if one_sided or changed:
        causes = _causes({name: (before[name], after[name]) for name in changed})
        lines = one_sided + [f"{name}: {line}" for name, found in changed.items() for line in found]
        return "\n".join(("metrics differ from the committed ones:", *causes, *(f"  {line}" for line in lines)))
    largest = max((_distance(before[name], after[name]) for name in both), default=0.0)
    said = f"reproduced within tolerance: {len(after)} rows of metrics, largest difference {largest:.3f}"
    said += f" (at most {TOLERANCE})"
    if largest:
        said += "; dvc.lock changes then, which is expected on another CPU"
    return said


def _changes(old: Row, new: Row) -> list[str]:
    """Return a line per value that is another one."""
    lines = []
    for key in sorted((old.keys() | new.keys()) - {TRAINED_ON}):
        one, other = old.get(key), new.get(key)
        difference = _difference(one, other)
        if one != other if difference is None else difference > TOLERANCE:
            lines.append(f"{key}: {other}, committed {one}")
    return lines


def _causes(rows: Mapping[str, tuple[Row, Row]]) -> list[str]:
    """Return a line per pair of machines that rows with other values were trained on, and what follows from it."""
    pairs = Counter((old.get(TRAINED_ON), new.get(TRAINED_ON)) for old, new in rows.values())
    lines = []
    for (old, new), count in pairs.items():
        rows_said = "1 row" if count == 1 else f"{count} rows"
        if not old or not new:
            lines.append(f"  {rows_said}, of which one side does not say where it was trained")
        elif old == new:
            lines.append(f"  {rows_said}, both trained on {new}; on one kind of CPU rounding is no reason")
        else:
            lines.append(
                f"  {rows_said}, trained on {new}, committed: {old}; rounding alone can end in other weights then"
            )
    return lines


def _distance(old: Row, new: Row) -> float:
    """Return the largest difference of a number in both rows."""
    return max((_difference(old[key], new[key]) or 0.0 for key in old.keys() & new.keys()), default=0.0)


def _difference(one: object, other: object) -> float | None:
    """Return how far two numbers are apart, None where one of them is none."""
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other)
    return None


def _present(root: Path) -> dict[str, Row]:
    files = sorted((root / paths.METRICS).glob("*/*/*.json"))
    return {file.relative_to(root).as_posix(): read_json(file) for file in files}


def _committed(root: Path) -> dict[str, Row] | None:
    """Return the metrics of the last commit, None where there is no git checkout or no commit."""
    listed = _git(root, "ls-tree", "-r", "--name-only", "HEAD", f"{paths.METRICS}/")
    if listed is None:
        return None
    names = [name for name in listed.splitlines() if name.count("/") == 3 and name.endswith(".json")]
    return {name: json.loads(_git(root, "show", f"HEAD:./{name}") or "{}") for name in names}


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)
