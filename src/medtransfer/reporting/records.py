"""What the records of a study's fits say: provenance of every fit and its learning curve."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medtransfer.errors import DataError
from medtransfer.files import read_json
from medtransfer.tracking.journal import EVENTS, points, read_events

PHASES = ("pretrained", "finetuned")
PROVENANCE = ("phase", "network", "chain", "seed", "name", "run_key", "run_id", "git_commit", "git_dirty")
PROVENANCE_COLUMNS = (*PROVENANCE, "data", "params_fingerprint", "seconds")
CURVE_COLUMNS = ("phase", "network", "chain", "seed", "step", "loss", "auroc")
READY_MADE = "ready_made.json"


def provenance(study_folder: Path, networks: Sequence[str]) -> pd.DataFrame:
    """Return one row a recorded fit, columns ``PROVENANCE_COLUMNS``.

    ``data`` is ``name digest`` pairs joined by commas; ``seconds`` is the training time, NaN where not recorded.

    Raises:
        DataError: a record is not readable.
    """
    rows = []
    for place, folder in _fits(study_folder, networks):
        record = _run(folder)
        data = ", ".join(f"{name} {digest}" for name, digest in record["data"].items())
        same = {name: record[name] for name in ("name", "run_key", "run_id", "git_commit", "git_dirty")}
        fingerprint = record["params_fingerprint"]
        rows.append(place | same | {"data": data, "params_fingerprint": fingerprint, "seconds": _seconds(folder)})
    return pd.DataFrame(rows, columns=list(PROVENANCE_COLUMNS))


def curves(study_folder: Path, networks: Sequence[str], *, positive: str) -> pd.DataFrame:
    """Return the learning curves of all recorded fits, columns ``CURVE_COLUMNS``.

    ``auroc`` is validation AUROC of the positive class where the fit has it, else the macro mean over classes.
    """
    tables = []
    for place, folder in _fits(study_folder, networks):
        if (folder / "history.csv").exists():
            history = pd.read_csv(folder / "history.csv")
            names = [name for name in (f"val/auroc_{positive}", "val/macro_auroc") if name in history]
            auroc = history[names[0]] if names else float("nan")
            loss = history["train/loss"] if "train/loss" in history else float("nan")
            tables.append(history[["step"]].assign(**place, loss=loss, auroc=auroc)[list(CURVE_COLUMNS)])
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(CURVE_COLUMNS))


def _fits(study_folder: Path, networks: Sequence[str]) -> Iterator[tuple[dict[str, Any], Path]]:
    """Yield (phase, network, chain, seed) and the records folder of every fit, in the order of phase and network.

    Ready-made weights were trained elsewhere: they have no run.
    """
    for phase in PHASES:
        for network in networks:
            for variant in sorted((study_folder / phase).glob(f"{network}-*")):
                found = [path for path in variant.glob("records/seed*") if not (path / READY_MADE).exists()]
                for folder in sorted(found, key=lambda path: int(path.name[4:])):
                    chain = variant.name.removeprefix(f"{network}-")
                    yield {"phase": phase, "network": network, "chain": chain, "seed": int(folder.name[4:])}, folder


def _run(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = read_json(folder / "run.json")
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / 'run.json'}: no readable record of a run; run the stage that makes it") from error
    return record


def _seconds(folder: Path) -> float:
    """Return the training time that the fit recorded as metric ``fit/seconds``."""
    if not (folder / EVENTS).exists():
        return float("nan")
    events, _ = read_events(folder / EVENTS)
    found = [value for key, _, value in points(events) if key == "fit/seconds"]
    return found[-1] if found else float("nan")
