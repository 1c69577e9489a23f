"""What the records of a study's fits say: provenance of every fit and its learning curve."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medtransfer.errors import DataError
from medtransfer.files import read_json
from medtransfer.tracking.journal import EVENTS, points, read_events

RUN_COLUMNS = ("name", "run_key", "run_id", "git_commit", "git_dirty")
READY_MADE = "ready_made.json"

Fit = tuple[dict[str, Any], Path]
"""What names a fit in the study's own words, and its records folder."""


def chain_fits(study_folder: Path, networks: Sequence[str]) -> Iterator[Fit]:
    """Yield (phase, network, chain, seed) and records of every fit stored as ``<phase>/<network>-<chain>``.

    In the order of phase and network. Ready-made weights were trained elsewhere: they have no run.
    """
    for phase in ("pretrained", "finetuned"):
        for network in networks:
            for variant in sorted((study_folder / phase).glob(f"{network}-*")):
                chain = variant.name.removeprefix(f"{network}-")
                for seed, folder in seed_folders(variant):
                    yield {"phase": phase, "network": network, "chain": chain, "seed": seed}, folder


def seed_folders(variant: Path) -> list[tuple[int, Path]]:
    """Return seed and records folder of every fit of a variant's folder, without ready-made weights."""
    found = [path for path in variant.glob("records/seed*") if not (path / READY_MADE).exists()]
    return sorted((int(path.name[4:]), path) for path in found)


def provenance(fits: Iterable[Fit]) -> pd.DataFrame:
    """Return one row a fit: what names it, ``RUN_COLUMNS``, ``data, params_fingerprint, seconds``.

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
    return pd.DataFrame(rows, columns=None if rows else [*RUN_COLUMNS, "params_fingerprint", "data", "seconds"])


def curves(fits: Iterable[Fit], metrics: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return the learning curves of fits, a row a validation: what names the fit, ``step`` and the wanted columns.

    Args:
        fits: the fits; those without history are left out.
        metrics: column → names under which the history may hold it, the first that is there counts, else NaN.
    """
    tables = []
    for names, folder in fits:
        if (folder / "history.csv").exists():
            history = pd.read_csv(folder / "history.csv")
            found = {column: _first(history, wanted) for column, wanted in metrics.items()}
            tables.append(history[["step"]].assign(**names, **found))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["phase", "step", *metrics])


def last_values(folder: Path) -> dict[str, float]:
    """Return the last value of every metric that a fit recorded; empty without a journal."""
    if not (folder / EVENTS).exists():
        return {}
    events, _ = read_events(folder / EVENTS)
    return {key: value for key, _, value in points(events)}


def kept_values(folder: Path) -> dict[str, float]:
    """Return what a fit measured of the weights that it kept, by metric; empty without a history."""
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
        raise DataError(f"{folder / 'run.json'}: no readable record of a run; run the stage that makes it") from error
    return record
