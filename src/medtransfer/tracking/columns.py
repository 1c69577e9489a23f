"""Columns of the table that a registered model returns, as its heads in config.json name them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from medtransfer.errors import ModelError
from medtransfer.files import read_json

CALIBRATION = "calibration.json"
"""File beside the weights of a registered version: output → temperature."""
PROBABILITY, CALIBRATED = "probability_", "calibrated_"
"""Begin the columns of probabilities, and of the same at their temperature."""
LUNGS = "lungs"
"""Column of a network that grades lung zones: where the mask of each image is from."""
SCORE = "severity_score"
"""Column of the same network: how many of the six zones have a severity of at least 0.5."""
AFFECTED = 0.5
"""Severity from which on a zone counts in the score (Park et al. 2022, P-12)."""
FILES = "files"
"""What ``masks`` of the preprocessing is in a network that was trained on lung masks."""
if TYPE_CHECKING:
    import pandas as pd


class HeadColumns(NamedTuple):
    """What one head adds to the table."""

    label: str
    """Column with the name of the likeliest class; empty unless the classes exclude each other."""
    scores: tuple[str, ...]
    """One column per output, in the order of the outputs."""


def score_table(
    scores: Mapping[str, npt.NDArray[np.float64]],
    columns: Mapping[str, HeadColumns],
    heads: Mapping[str, Any],
    *,
    origins: Sequence[str] = (),
    temperatures: Mapping[str, float] | None = None,
) -> "pd.DataFrame":
    """Return the scores of each head ``[N, outputs]`` as the table of a registered model.

    Args:
        scores: by head.
        columns: what ``head_columns`` returned.
        heads: with their ``outputs``, the names of the classes.
        origins: where the lung mask of each image is from, of a network that grades lung zones.
        temperatures: by output; their probabilities have a second column, ``calibrated_<output>``.
    """
    import pandas as pd

    table: dict[str, Any] = {}
    for name, column in columns.items():
        if column.label:
            table[column.label] = [heads[name].outputs[i] for i in scores[name].argmax(1)]
        table |= dict(zip(column.scores, scores[name].T, strict=True))
    for output, temperature in calibrated(columns, temperatures or {}).items():
        table[f"{CALIBRATED}{output}"] = at_temperature(table[f"{PROBABILITY}{output}"], temperature)
    if origins:
        zones = np.stack([table[name] for name in table if name.startswith("severity_")], axis=1)
        table |= {SCORE: (zones >= AFFECTED).sum(axis=1).astype(float), LUNGS: list(origins)}
    return pd.DataFrame(table)


def head_columns(heads: Mapping[str, Mapping[str, Any]], *, where: str) -> dict[str, HeadColumns]:
    """Return the columns of each head, in the order of the table.

    Scores are ``probability_<output>``, ``severity_<output>`` or ``value_<output>``. A head of exclusive classes has
    its label before them: ``label``, or ``label_<head>`` in a network with several such heads.

    Args:
        heads: the heads as they are stored.
        where: the model, for messages.

    Raises:
        ModelError: there is no head, one is damaged or was never trained.
    """
    try:
        untrained = [name for name, head in heads.items() if not head["trained"]]
        exclusive = [n for n, head in heads.items() if head["activation"] == "softmax" or head.get("exclusive")]
        scores = {name: tuple(f"{head['kind']}_{output}" for output in head["outputs"]) for name, head in heads.items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise ModelError(f"{where}: damaged heads; run the stage that writes them again") from error
    if untrained or not heads:
        which = f"head {untrained[0]!r} was never trained" if untrained else "the network has no head"
        raise ModelError(f"{where}: {which}, so there is nothing to serve; register a fine-tuned network")
    labels = {name: "label" if len(exclusive) == 1 else f"label_{name}" for name in exclusive}
    return {name: HeadColumns(labels.get(name, ""), scores[name]) for name in heads}


def calibrated(columns: Mapping[str, HeadColumns], temperatures: Mapping[str, float]) -> dict[str, float]:
    """Return the temperatures of outputs that are probabilities, in the order of the table."""
    names = [name.removeprefix(PROBABILITY) for head in columns.values() for name in head.scores]
    return {name: temperatures[name] for name in names if name in temperatures}


def at_temperature(probability: npt.NDArray[np.float64], temperature: float) -> npt.NDArray[np.float64]:
    """Return probabilities whose log odds are divided by a temperature above 0; their order stays (Guo et al. 2017)."""
    with np.errstate(divide="ignore", over="ignore"):
        odds = (np.log1p(-probability) - np.log(probability)) / temperature
        return np.asarray(1 / (1 + np.exp(odds)))


def read_temperatures(folder: Path) -> dict[str, float]:
    """Return the temperature of each output of a registered version; nothing where it has none.

    Args:
        folder: of its weights.

    Raises:
        ModelError: the file holds something else.
    """
    file = folder / CALIBRATION
    found: dict[str, Any] = read_json(file) if file.exists() else {}
    if wrong := [name for name, value in found.items() if not isinstance(value, (int, float)) or not value > 0]:
        raise ModelError(f"{file}: temperature of {wrong[0]!r}: expected a number above 0; fetch the model again")
    return found
