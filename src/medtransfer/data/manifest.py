"""The manifest: the only table that crosses rooms, one row per image, stored as parquet.

Missing values: an empty text (``""``) in text columns, ``NaT`` in ``date``, ``NaN`` in ``y_<finding>``, ``v_<value>``
and ``zone_<0-5>`` (not known, which is neither 0 nor 1), ``-1`` in ``mask_row`` and ``row``. The text column ``mask``
(a mask file relative to the data set's root) exists between scanning and packing only; packing makes it ``mask_row``.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.errors import DataError
from medtransfer.files import write_atomic

TEXT = (
    "image_id patient_id dataset source modality view laterality path window sha256 pixel_sha phash split label".split()  # noqa: SIM905
)
ZONES = tuple(f"zone_{i}" for i in range(6))
ROWS = ("mask_row", "row")
COLUMNS = (*TEXT[:7], "date", *TEXT[7:], *ZONES, *ROWS)
SPLITS = ("train", "val", "test")
REQUIRED = ("image_id", "patient_id", "dataset", "path")
BEFORE_PACKING = "mask"


def empty_row() -> dict[str, Any]:
    """Return every fixed column with its missing value."""
    missing: dict[str, Any] = dict.fromkeys(TEXT, "")
    return missing | {"date": pd.NaT} | dict.fromkeys(ZONES, np.nan) | dict.fromkeys(ROWS, -1)


def build_manifest(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return a table with every fixed column, the rows' ``y_`` and ``v_`` columns, and defined types.

    What a row lacks is missing.

    Raises:
        DataError: there are no rows, or a value does not fit its column.
    """
    if not rows:
        raise DataError("manifest: no rows, expected at least one image; check the source's folder and filters")
    frame = pd.DataFrame.from_records(list(rows))
    for column, missing in empty_row().items():
        if column not in frame:
            frame[column] = missing
    for column in frame.columns:
        frame[column] = _typed(frame[column], str(column))
    fixed = set(COLUMNS)
    return frame[[*COLUMNS[:-8], *(c for c in frame.columns if c not in fixed), *COLUMNS[-8:]]]


def validate_manifest(manifest: pd.DataFrame, *, classes: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the manifest unchanged when it keeps the contract.

    Args:
        manifest: the table to check.
        classes: names that ``label`` may hold besides the empty text; ``None`` accepts any.

    Raises:
        DataError: names the column and the first offending image ids.
    """
    _check_columns(manifest)
    for column in REQUIRED:
        _refuse(manifest, column, manifest[column] == "", "a text that is not empty")
    _refuse(manifest, "image_id", manifest["image_id"].duplicated(keep=False), "unique ids")
    _refuse(manifest, "split", ~manifest["split"].isin(["", *SPLITS]), "train, val, test or nothing")
    if classes is not None:
        _refuse(manifest, "label", ~manifest["label"].isin(["", *classes]), f"one of {', '.join(classes)}")
    for column in finding_columns(manifest):
        values = manifest[column]
        _refuse(manifest, column, values.notna() & ~values.isin([0, 1]), "0 or 1")
    for column in ZONES:
        values = manifest[column]
        _refuse(manifest, column, values.notna() & ~values.between(0, 3), "a severity from 0 to 3")
    return manifest


def write_manifest(manifest: pd.DataFrame, path: Path) -> None:
    """Validate and write a manifest as parquet, whole or not at all."""
    checked = validate_manifest(manifest)
    write_atomic(path, lambda staged: checked.to_parquet(staged, index=False))


def read_manifest(path: Path) -> pd.DataFrame:
    """Read and validate a manifest.

    Raises:
        DataError: the file is absent, is not parquet, or breaks the contract.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such manifest, expected a parquet file; prepare the data set first")
    try:
        manifest = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable parquet file ({error}); prepare the data set again") from error
    return validate_manifest(manifest)


def collection_of(source: str) -> str:
    """Return the collection of a ``source``: what is before a ``/``, else the source itself."""
    return source.partition("/")[0]


def names_no_hospital(source: str, among: Collection[str]) -> bool:
    """Return whether a ``source`` is empty, or a collection whose other images name their hospitals."""
    return not source or any(other.startswith(f"{source}/") for other in among)


def classes_of(manifest: pd.DataFrame) -> tuple[str, ...]:
    """Return the labels that occur, sorted; the order that a network uses is the packed data set's, not this one."""
    return tuple(sorted(set(manifest["label"]) - {""}))


def finding_columns(manifest: pd.DataFrame) -> tuple[str, ...]:
    """Return the names of the ``y_<finding>`` columns in the table's order."""
    return tuple(str(c) for c in manifest.columns if str(c).startswith("y_"))


def value_columns(manifest: pd.DataFrame) -> tuple[str, ...]:
    """Return the names of the ``v_<value>`` columns: numbers in units of their own, such as a reader's scores."""
    return tuple(str(c) for c in manifest.columns if str(c).startswith("v_"))


def _typed(values: pd.Series, column: str) -> pd.Series:
    try:
        if column == "date":
            return pd.to_datetime(values, format="ISO8601").astype("datetime64[ms]")
        if column in ZONES or column.startswith(("y_", "v_")):
            return values.astype("float64")
        if column in ROWS:
            return values.fillna(-1).astype("int64")
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"manifest column {column}: {reason}; expected {_KIND[column[:1]]}") from error
    return values.fillna("").astype("str")


_KIND = {
    "d": "dates",
    "z": "numbers from 0 to 3",
    "y": "0, 1 or nothing",
    "v": "numbers",
    "m": "whole numbers",
    "r": "whole numbers",
}


def _check_columns(manifest: pd.DataFrame) -> None:
    missing = [c for c in COLUMNS if c not in manifest]
    if missing:
        raise DataError(f"manifest: column {missing[0]} is missing; build it with build_manifest")
    known = {*COLUMNS, BEFORE_PACKING, *finding_columns(manifest), *value_columns(manifest)}
    unknown = [str(c) for c in manifest.columns if c not in known]
    if unknown:
        raise DataError(
            f"manifest: {unknown[0]} is no column of a manifest; findings are named y_<finding>, values v_<value>"
        )


def _refuse(manifest: pd.DataFrame, column: str, bad: Any, expected: str) -> None:
    rows = manifest[np.asarray(bad)]
    if len(rows):
        first = ", ".join(f"{i!r} has {v!r}" for i, v in zip(rows["image_id"][:3], rows[column][:3], strict=True))
        raise DataError(f"manifest column {column}: {len(rows)} rows are wrong ({first}); expected {expected}")
