"""Readers of the records of a study's fits: provenance and learning curves."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medtransfer.errors import DataError
from medtransfer.files import read_json
from medtransfer.tracking.journal import EVENTS, points, read_events

RUN_COLUMNS = ("name", "run_key", "run_id", "git_commit", "git_dirty")
READY_MADE = "ready_made.json"
NAMES = ("phase", "variant", "condition", "seed")

Fit = tuple[dict[str, Any], Path]
"""What names a fit (``phase, variant, condition, seed``), and its records folder."""

TRAINED_ON = "trained_on"
"""Entry of a row of ``metrics/``: on what its fits were trained."""


def recorded_fits(study_folder: Path, variants: Sequence[str]) -> list[Fit]:
    """Return the fits below ``records/<phase>/<variant>/<condition>/seed<N>``, by phase, variant, condition and seed.

    Ready-made weights were trained elsewhere: they have no run.

    Args:
        study_folder: ``out/<study>``.
        variants: those of the study, in order; folders of other variants, left over from another profile, are ignored.
    """
    folders = [path for path in (study_folder / "records").glob("*/*/*/seed*") if not (path / READY_MADE).exists()]
    fits = [((*path.parts[-4:-1], int(path.name.removeprefix("seed"))), path) for path in folders]
    own = [(dict(zip(NAMES, names, strict=True)), path) for names, path in sorted(fits) if names[1] in variants]
    return sorted(own, key=lambda fit: (fit[0]["phase"], variants.index(fit[0]["variant"])))


def provenance(fits: Iterable[Fit]) -> pd.DataFrame:
    """Return one row per fit: ``NAMES``, ``RUN_COLUMNS``, ``data, params_fingerprint, seconds``.

    ``data`` is ``name digest`` pairs joined by commas; ``seconds`` is the training time, NaN where not recorded.

    Raises:
        DataError: a record is not readable.
    """
    rows = []
    for names, folder in fits:
        record = _run(folder)
        data = ", ".join(f"{name} {digest}" for name, digest in record["data"].items())
        same = {name: record[name] for name in (*RUN_COLUMNS, "params_fingerprint")}
        seconds = last_values(folder).get("fit/seconds", float("nan"))
        rows.append(names | same | {"data": data, "seconds": seconds})
    return pd.DataFrame(rows, columns=None if rows else [*NAMES, *RUN_COLUMNS, "params_fingerprint", "data", "seconds"])


def curves(fits: Iterable[Fit], metrics: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return the learning curves of fits, one row per validation: ``NAMES``, ``step`` and the columns of ``metrics``.

    Args:
        fits: the fits; those without history are left out.
        metrics: column → its possible names in the history; the first that exists is read, else the column is NaN.
    """
    tables = []
    for names, folder in fits:
        if (folder / "history.csv").exists():
            history = pd.read_csv(folder / "history.csv")
            columns = {column: _first(history, candidates) for column, candidates in metrics.items()}
            tables.append(history[["step"]].assign(**names, **columns))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*NAMES, "step", *metrics])


def last_values(folder: Path) -> dict[str, float]:
    """Return the last value of every metric that a fit recorded; empty without a journal."""
    if not (folder / EVENTS).exists():
        return {}
    events, _ = read_events(folder / EVENTS)
    return {key: value for key, _, value in points(events)}


def trained_on(folder: Path) -> str:
    """Return on what a fit was trained, ``AMD EPYC, 2 cores, bf16``; empty where its journal does not say."""
    if not (folder / EVENTS).exists():
        return ""
    events, _ = read_events(folder / EVENTS)
    machine = next((event.body.get("lineage", {}).get("machine") for event in events if event.kind == "open"), None)
    values = [event.body["values"] for event in events if event.kind == "params"]
    precision = next((found["precision"] for found in values if "precision" in found), "")
    if not machine:
        return ""
    where = machine["gpus"] or [machine["cpu"], f"{machine['cores']} cores"]
    return ", ".join([*where, *([precision] if precision else [])])


def kept_values(folder: Path) -> dict[str, float]:
    """Return what a fit measured at the step whose weights it kept, by metric; empty without a history."""
    best = last_values(folder).get("fit/best_step")
    if best is None or not (folder / "history.csv").exists():
        return {}
    history = pd.read_csv(folder / "history.csv")
    return {
        str(key): float(value)
        for row in history[history["step"] == best].to_dict("records")
        for key, value in row.items()
    }


def _first(history: pd.DataFrame, names: Sequence[str]) -> Any:
    return next((history[name] for name in names if name in history), float("nan"))


def _run(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = read_json(folder / "run.json")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder / 'run.json'}: not a readable record of a run; run the stage that writes it"
        ) from error
    return record
