"""Whether a probability of 0.8 is right in 8 of 10 images: reliability curve, and one temperature fitted on validation.

The calibration error is ``binary.expected_calibration_error``.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from medtransfer.errors import DataError
from medtransfer.evaluation.binary import BINS
from medtransfer.evaluation.checks import Floats, Ints, binary_rows, class_rows
from medtransfer.evaluation.intervals import wilson
from medtransfer.evaluation.thresholds import known_validation_rows

_LEAST = 2.3e-308
"""Near the smallest number whose logarithm is exact enough."""


@dataclass(frozen=True)
class Bin:
    """One point of a reliability curve.

    Attributes:
        rows: rows whose probability is in the bin.
        probability: their mean probability.
        frequency: share of them that is positive.
        low, high: Wilson interval of the frequency at 95 %, which takes rows for independent.
    """

    rows: int
    probability: float
    frequency: float
    low: float
    high: float


def reliability_curve(target: ArrayLike, score: ArrayLike, *, bins: int = BINS) -> tuple[Bin, ...]:
    """Return a point for each of ``bins`` equal parts of 0–1 that holds a row, from low to high (Guo et al. 2017).

    Args:
        target: ``[rows]`` of 0 and 1.
        score: probability of the positive class, ``[rows]``.
        bins: parts; each is closed on the right, 0 is in the first, as in the calibration error.

    Raises:
        DataError: a score is no probability, or see ``binary_rows``.
    """
    truth, scores = binary_rows(target, score)
    _require_probabilities(scores)
    place = np.clip(np.ceil(scores * bins) - 1, 0, bins - 1).astype(int)
    points = []
    for number in np.unique(place):
        inside = place == number
        share = wilson(int(truth[inside].sum()), int(inside.sum()))
        points.append(Bin(int(inside.sum()), float(scores[inside].mean()), share.value, share.low, share.high))
    return tuple(points)


def fit_temperature(target: ArrayLike, score: ArrayLike) -> float:
    """Return the temperature ``T`` under which the log loss of these rows is least (Guo et al. 2017, section 4.2).

    Above 1 the probabilities were too far from chance. Fitted by scikit-learn; apply it with ``at_temperature``.

    Args:
        target: ``[rows]`` of 0 and 1, or class numbers.
        score: ``[rows]`` probability of the positive class, or ``[rows, classes]`` of classes that exclude each other.

    Raises:
        DataError: a score is no probability, or a class has no row.
    """
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    class Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # sklearn ships no types
        """The logits as they are."""

        def fit(self, X: Floats, y: Floats) -> "Given":
            self.classes_ = np.unique(y)
            return self

        def decision_function(self, X: Floats) -> Floats:
            ahead: Floats = X[:, 1] - X[:, 0] if X.shape[1] == 2 else X
            return ahead

        def predict(self, X: Floats) -> Ints:
            numbers: Ints = X.argmax(1)
            return numbers

    binary = np.ndim(score) == 1
    truth, scores = binary_rows(target, score) if binary else class_rows(target, score)
    _require_probabilities(scores)
    logits = _logarithms(np.stack([1 - scores, scores], 1) if binary else scores)
    numbers = truth.astype(int)
    absent = sorted(set(range(logits.shape[1])) - set(numbers.tolist()))
    if absent:
        raise DataError(f"temperature: no validation row of class {absent[0]}, expected one at least; split again")
    rows = np.arange(len(numbers))
    given = FrozenEstimator(Given().fit(logits, numbers))
    model = CalibratedClassifierCV(given, method="temperature", cv=[(rows, rows)])  # nothing is fitted but T: one fold
    model.fit(logits, numbers)
    # the last class ahead by 2 in logits, which scikit-learn cannot take for probabilities: 2/T is what becomes of it
    fitted = model.predict_proba(2 * np.eye(logits.shape[1])[-1:])[0]
    return float(2 / np.log(fitted[-1] / fitted[0]))


def temperature_from_validation(rows: pd.DataFrame) -> float:
    """Return the temperature of one output from its rows of the predictions table, which must be validation rows.

    Raises:
        DataError: a row is of another split, fit or output; or see ``fit_temperature``.
    """
    known = known_validation_rows("temperature", rows)
    return fit_temperature(known["target"], known["score"])


def at_temperature(score: ArrayLike, temperature: float) -> Floats:
    """Return probabilities whose logits are divided by the temperature.

    Args:
        score: ``[rows]`` probability of the positive class, or ``[rows, classes]`` of classes that exclude each other.
        temperature: above 0; 1 changes nothing. Order, thresholded calls and AUROC stay.

    Raises:
        DataError: a score is no probability, or the temperature is not above 0.
    """
    scores = np.asarray(score, np.float64)
    _require_probabilities(scores)
    if not temperature > 0:
        raise DataError(f"temperature {temperature:g}: expected a number above 0; fit it on validation rows")
    parts = np.stack([1 - scores, scores], -1) if scores.ndim == 1 else scores
    powers = _logarithms(parts) / temperature
    powers = np.exp(powers - powers.max(-1, keepdims=True))
    scaled: Floats = powers / powers.sum(-1, keepdims=True)
    return scaled[:, 1] if scores.ndim == 1 else scaled


def _logarithms(probability: Floats) -> Floats:
    """Return logarithms, finite where a probability is 0."""
    logarithms: Floats = np.log(np.maximum(probability, _LEAST))
    return logarithms


def _require_probabilities(scores: Floats) -> None:
    wrong = scores[(scores < 0) | (scores > 1) | np.isnan(scores)]
    if wrong.size:
        raise DataError(f"score {wrong[0]:g} is no probability, expected 0 to 1; apply the head's activation first")
