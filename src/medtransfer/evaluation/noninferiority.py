"""Is one fixed model not worse than another, on the same images? The question of the registry's gate."""

import hashlib
from typing import Literal

import pandas as pd

from medtransfer.errors import DataError
from medtransfer.evaluation.cells import EvaluationConfig, measure
from medtransfer.evaluation.claims import combine
from medtransfer.evaluation.predictions import KEY
from medtransfer.evaluation.summary import LEVEL, summarise

MARGIN = 0.02
"""The largest loss of a metric that counts as none."""
State = Literal["open", "closed", "not shown"]
_NAMES = {"study": "registry", "condition": "version", "seed": 0}


def anonymous(rows: pd.DataFrame) -> pd.DataFrame:
    """Return predictions whose images and patients have hashes for names: enough to align and to resample.

    Args:
        rows: rows of one fit in the predictions table.
    """
    hidden = {column: rows[column].map(_hash) for column in ("image_id", "patient_id")}
    return rows.assign(**hidden, source="", date=pd.NaT).reset_index(drop=True)


def compare_models(candidate: pd.DataFrame, champion: pd.DataFrame, metric: str) -> tuple[State, str]:
    """Say whether a model is worse than another, not worse, or whether neither is shown.

    Both models are fixed, so the interval of ``candidate − champion`` holds chance in patients alone: how they would
    differ with other patients, not what another training would give. ``closed`` when the whole interval is below zero;
    ``open``, not worse, when the whole interval is above −0.02; else ``not shown``.

    Args:
        candidate: its rows of the predictions table on validation images.
        champion: those of the other model.
        metric: a metric of ``cells.BINARY`` or ``cells.MULTICLASS``; the mean over several outputs.

    Returns:
        State and the reason with estimate and interval.
    """
    try:
        _require_same_rows(candidate, champion)
        cells = {
            name: measure(rows.assign(**_NAMES, variant=name), EvaluationConfig(threshold="half"), splits=("val",))
            for name, rows in (("candidate", candidate), ("champion", champion))
        }
        by_key = {cell.key: cell for found in cells.values() for cell in found if metric in cell.samples}
        weights = {("candidate", "version"): 1.0, ("champion", "version"): -1.0}
        if by_key.keys() != weights.keys():
            return "not shown", f"{metric} cannot be computed from the validation predictions"
        found = summarise(combine(weights, by_key, metric), level=LEVEL)
    except DataError as error:
        return "not shown", str(error)
    patients = candidate["patient_id"].nunique()
    if candidate.sort_values(KEY)["score"].tolist() == champion.sort_values(KEY)["score"].tolist():
        return "open", f"equal predictions on {patients} validation patients"
    if found["low"] is None or found["high"] is None:
        return "not shown", found.get("reason", "no interval")
    low, high = found["low"], found["high"]
    about = f"{metric} {found['mean']:+.3f} ({low:+.3f} … {high:+.3f}) on {patients} validation patients"
    if high < 0:
        return "closed", f"worse: {about}"
    return ("open", f"not worse: {about}") if low > -MARGIN else ("not shown", about)


def _require_same_rows(candidate: pd.DataFrame, champion: pd.DataFrame) -> None:
    """Refuse tables of other images, patients or labels.

    Raises:
        DataError: they differ.
    """
    columns = ["dataset", "split", "image_id", "patient_id", "output", "target"]
    tables = [rows[columns].sort_values(columns).reset_index(drop=True) for rows in (candidate, champion)]
    if not tables[0].equals(tables[1]):
        raise DataError(
            f"the two were validated on different rows ({len(tables[0])} and {len(tables[1])}): register both on the "
            "same validation split"
        )


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]
