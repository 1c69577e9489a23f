"""The predictions table: one row per image and output; metrics are computed from nothing else."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from medtransfer.errors import DataError
from medtransfer.files import write_atomic

Kind = Literal["probability", "severity", "value"]

_RUN = ("study", "variant", "condition")
_IMAGE = ("dataset", "split", "image_id", "patient_id", "source", "view", "date")
_TEXT = (*_RUN, "dataset", "split", "image_id", "patient_id", "source", "view", "output", "kind", "intervention")
_MAY_BE_EMPTY = {"patient_id", "source", "view", "intervention"}

PREDICTION_COLUMNS = (*_RUN, "seed", *_IMAGE, "output", "kind", "intervention", "score", "target")
"""Columns in order; docs/architecture.md explains them. An empty ``patient_id`` is not known."""

KEY = [*_RUN, "seed", "dataset", "split", "image_id", "output", "intervention"]
"""The columns that identify one row."""

HASH = "medtransfer.sha256"
"""Key of the file's metadata with a hash of all values, which is checked on reading."""


def prediction_rows(
    images: pd.DataFrame,
    scores: ArrayLike,
    targets: ArrayLike,
    *,
    outputs: Sequence[str],
    kind: Kind,
    study: str,
    variant: str,
    condition: str,
    seed: int,
    intervention: str = "",
) -> pd.DataFrame:
    """Return the scores of one fit as rows of the table, image by image.

    Args:
        images: manifest rows of the images.
        scores: ``[images, outputs]``.
        targets: ``[images, outputs]``, NaN where not known; one-hot for exclusive classes.
        outputs: their names.
        kind: what the scores are.
        study: with ``variant``, ``condition`` and ``seed``, the fit that made the scores.
        variant: see study.
        condition: see study.
        seed: see study.
        intervention: what was changed in the network or the image before predicting; empty = nothing.

    Raises:
        DataError: a shape does not fit the images and outputs, or the rows are not a valid table.
    """
    shape = (len(images), len(outputs))
    for name, values in (("scores", scores), ("targets", targets)):
        if np.shape(values) != shape:
            raise DataError(f"{name} have shape {np.shape(values)}, expected {shape}: one column per output")
    table = images[list(_IMAGE)].reset_index(drop=True)
    table = table.loc[table.index.repeat(len(outputs))].reset_index(drop=True)
    fit = {"study": study, "variant": variant, "condition": condition, "seed": seed, "intervention": intervention}
    table = table.assign(**fit, kind=kind)
    table["output"] = list(outputs) * len(images)
    table["score"], table["target"] = np.ravel(scores), np.ravel(targets)
    return validate_predictions(table)


def validate_predictions(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with typed columns in order.

    Raises:
        DataError: a column is missing or unknown, a row occurs twice, a number or name is not valid for its kind,
            or one image has two patients or two targets for one output; the message names the first such row.
    """
    missing, extra = set(PREDICTION_COLUMNS) - set(table), set(table) - set(PREDICTION_COLUMNS)
    if missing or extra:
        raise DataError(
            f"predictions table: missing columns {sorted(missing)}, unknown columns {sorted(extra)}; expected exactly "
            f"{', '.join(PREDICTION_COLUMNS)}"
        )
    table = _typed(table[list(PREDICTION_COLUMNS)].reset_index(drop=True))
    for column in _TEXT:
        if column not in _MAY_BE_EMPTY:
            _refuse(table, table[column] == "", column, "a name")
    _refuse(table, ~table["split"].isin(("train", "val", "test")), "split", "train, val or test")
    _refuse(table, ~table["kind"].isin(("probability", "severity", "value")), "kind", "probability, severity or value")
    _refuse(table, ~np.isfinite(table["score"]), "score", "a finite number")
    _refuse(table, np.isinf(table["target"]), "target", "a finite number, or NaN where not known")
    is_probability = table["kind"] == "probability"
    _refuse(table, is_probability & ~table["score"].between(0, 1), "score", "a probability between 0 and 1")
    _refuse(table, is_probability & ~(table["target"].isin((0, 1)) | table["target"].isna()), "target", "0, 1 or NaN")
    once = "one row for each fit, data set, split, image, output and intervention"
    _refuse(table, table.duplicated(KEY), "image_id", once)
    patients = table.drop_duplicates(["dataset", "image_id", "patient_id"])
    _refuse(patients, patients.duplicated(["dataset", "image_id"]), "patient_id", "the same patient in every row")
    known = table[table["target"].notna()].drop_duplicates(["dataset", "image_id", "output", "target"])
    _refuse(known, known.duplicated(["dataset", "image_id", "output"]), "target", "the same target in every fit")
    return table


def write_predictions(parts: Iterable[pd.DataFrame], path: Path) -> None:
    """Validate the parts of a table one by one and write each as a row group of a parquet file, atomically.

    Only one part is in memory at a time, so parts that contradict each other are detected only when the table is read.

    Raises:
        DataError: a part is not a valid predictions table.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    kinds = dict.fromkeys(_TEXT, pa.string()) | {"seed": pa.int64(), "date": pa.timestamp("us")}
    schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in PREDICTION_COLUMNS])

    def write(staged: Path) -> None:
        with ParquetWriter(staged, schema) as writer:
            content = _Content()
            for part in parts:
                checked = validate_predictions(part)
                content.add(checked)
                writer.write_table(pa.Table.from_pandas(checked, schema=schema, preserve_index=False))
            writer.add_key_value_metadata({HASH: content.digest()})

    write_atomic(path, write)


def read_predictions(path: Path) -> pd.DataFrame:
    """Read and validate a table.

    Raises:
        DataError: the file is missing, is not parquet, or is not a predictions table.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no predictions table; run the predict stage first")
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            noted = (file.metadata.metadata or {}).get(HASH.encode(), b"").decode("ascii", "replace")
            table = file.read().to_pandas()
    except (OSError, ValueError, TypeError, ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path}: not a readable parquet file ({reason}); run the predict stage again") from error
    table = validate_predictions(table)
    content = _Content()
    content.add(table)
    if noted != content.digest():
        raise DataError(f"{path}: not the predictions that were written; restore it or run the predict stage again")
    return table


class _Content:
    """A hash of a table's values that does not depend on how the table is cut into parts."""

    def __init__(self) -> None:
        self.columns = {name: hashlib.sha256() for name in PREDICTION_COLUMNS}

    def add(self, table: pd.DataFrame) -> None:
        """Append rows out of ``validate_predictions``."""
        for name, column in self.columns.items():
            values = table[name]
            is_text = name in _TEXT
            column.update("".join(f"{v}\0" for v in values).encode() if is_text else values.to_numpy().tobytes())

    def digest(self) -> str:
        """Return the hash of all columns."""
        return hashlib.sha256("".join(column.hexdigest() for column in self.columns.values()).encode()).hexdigest()


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    try:
        texts = {name: table[name].astype(object).fillna("").astype(str) for name in _TEXT}
        numbers = {name: table[name].astype(np.float64) for name in ("score", "target")}
        dates = pd.to_datetime(table["date"], format="ISO8601").astype("datetime64[us]")
        return table.assign(**texts, **numbers, seed=_whole(table["seed"]), date=dates)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"predictions table: {error}; expected numbers in score and target, whole numbers in seed and dates in date"
        ) from error


def _whole(seeds: pd.Series) -> pd.Series:
    whole = seeds.astype(np.int64)
    if (whole != seeds).any():
        raise ValueError("a seed has a fraction")
    return whole


def _refuse(table: pd.DataFrame, wrong: pd.Series, column: str, expected: str) -> None:
    if wrong.any():
        row = table[wrong].iloc[0]
        raise DataError(
            f"predictions table: {column} of image {row['image_id']}, output {row['output']}, is {row[column]!r}; "
            f"expected {expected}; write the table again from the fit"
        )
