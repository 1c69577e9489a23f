"""One output of one fit, selected from predictions of any origin: a study, ``evaluate``, or a CSV table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from medtransfer.errors import ConfigError, DataError
from medtransfer.evaluation.predictions import PREDICTION_COLUMNS, read_predictions, validate_predictions

NEEDED = ("split", "image_id", "score", "target")
GIVEN = {
    "study": "given",
    "variant": "given",
    "condition": "given",
    "seed": 0,
    "dataset": "given",
    "split": "",
    "image_id": "",
    "patient_id": "",
    "source": "",
    "view": "",
    "date": None,
    "output": "positive",
    "kind": "probability",
    "intervention": "",
    "score": "",
    "target": "",
}
"""What a CSV table need not say."""
CHOICES = ("study", "variant", "condition", "seed", "dataset", "output")


def read_any_predictions(path: Path) -> pd.DataFrame:
    """Read a predictions table: parquet, or CSV with at least ``split, image_id, score, target`` (blank = not known).

    Raises:
        DataError: the file is absent, is no table, or is not a predictions table.
    """
    if path.suffix != ".csv":
        return read_predictions(path)
    if not path.is_file():
        raise DataError(f"{path}: no such table, expected columns {', '.join(NEEDED)} or more")
    texts = dict.fromkeys(set(PREDICTION_COLUMNS) - {"score", "target", "seed"}, str)
    try:
        table = pd.read_csv(path, dtype=texts)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not a comma-separated table with numbers ({reason}); export it again") from error
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise DataError(f"{path}: column {missing[0]} is missing, expected {', '.join(NEEDED)}; correct the header")
    given = {name: value for name, value in GIVEN.items() if name not in table}
    return validate_predictions(table[[name for name in GIVEN if name in table]].assign(**given))


def one_question(table: pd.DataFrame, chosen: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of one output of one fit on one data set; rows with an intervention are left out.

    Args:
        table: probabilities, severities and values of any fits; only probabilities count.
        chosen: column of ``CHOICES`` → value; None where nothing is chosen and the table must hold one value.

    Raises:
        ConfigError: a chosen value does not occur, or there are several and none is chosen.
    """
    rows = table[(table["kind"] == "probability") & (table["intervention"] == "")]
    for name in CHOICES:
        values, value = list(dict.fromkeys(rows[name])), chosen.get(name)
        if value is not None and value not in values:
            raise ConfigError(f"{name} {value!r}: no probability of it in the table; there are {_listed(values)}")
        if value is None and len(values) != 1:
            how = "keep the rows of one" if name == "study" else f"choose it with --{name}"
            raise ConfigError(f"{name}: the table holds {_listed(values)}, expected one; {how}")
        rows = rows if value is None else rows[rows[name] == value]
    return rows


def validation_of(rows: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return the validation rows of the fit and output that ``rows`` are of, of the same data set where it has any.

    Raises:
        DataError: there are none, or they are of several other data sets.
    """
    names = [name for name in CHOICES if name != "dataset"]
    found = table[(table["split"] == "val") & (table["intervention"] == "")]
    found = found[(found[names] == rows.iloc[0][names]).all(axis=1)]
    own = found[found["dataset"] == rows["dataset"].iloc[0]]
    found = found if own.empty else own
    if found["dataset"].nunique() != 1:
        fit = ", ".join(f"{name} {rows[name].iloc[0]}" for name in ("variant", "condition", "seed", "output"))
        raise DataError(
            f"{fit}: validation rows of {found['dataset'].nunique()} data sets, expected one: a threshold is fixed on "
            "them; predict them, or name the registered model"
        )
    return found


def _listed(values: list[Any]) -> str:
    return ", ".join(map(str, values)) or "none"
