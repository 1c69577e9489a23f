"""Operating points: a threshold is chosen on validation rows, then applied to other rows.

A row is called positive when ``score >= threshold``.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from medtransfer.errors import DataError
from medtransfer.evaluation.binary import operating_points
from medtransfer.evaluation.checks import Ints

Rule = Literal["youden", "sensitivity_80", "half"]


def choose_threshold(rule: Rule, target: ArrayLike, score: ArrayLike) -> float:
    """Return the threshold that a rule picks on rows of 0 and 1; these must be validation rows.

    ``youden``: largest sensitivity + specificity − 1 (Youden 1950). ``sensitivity_80``: the highest threshold whose
    sensitivity is at least 0.80. ``half``: 0.5 for any rows. Of equally good thresholds the highest is taken.

    Raises:
        DataError: the rule needs rows of both classes and one is missing.
    """
    thresholds, hits, alarms = operating_points(target, score)
    if rule == "half":
        return 0.5
    if not hits.size or not hits[-1] or not alarms[-1]:
        raise DataError(
            f"threshold rule {rule}: the validation rows hold {hits[-1] if hits.size else 0} positive and "
            f"{alarms[-1] if alarms.size else 0} negative rows, expected at least one of each; "
            "split again or choose the rule half"
        )
    return float(thresholds[_RULES[rule](hits, alarms)])


def threshold_from_validation(rule: Rule, rows: pd.DataFrame) -> float:
    """Return the threshold that a rule picks on the validation rows of one fit and one output.

    Raises:
        DataError: a row is of another split, fit or output, or the rule needs both classes and one has no row.
    """
    known = known_validation_rows(f"threshold rule {rule}", rows)
    return choose_threshold(rule, known["target"], known["score"])


def known_validation_rows(what: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the predictions table whose target is known, all of one fit's validation and one output.

    Raises:
        DataError: a row is of another split, fit or output; begins with ``what``.
    """
    other = sorted(set(rows["split"]) - {"val"})
    if other:
        raise DataError(
            f"{what}: got rows of split {', '.join(other)}, expected validation rows alone; "
            "pass the rows whose split is val"
        )
    if rows.duplicated(["dataset", "image_id"]).any():
        raise DataError(f"{what}: an image occurs twice, expected one fit and one output; select them")
    return rows[rows["target"].notna()]


def _youden(hits: Ints, alarms: Ints) -> int:
    gain: Ints = hits * alarms[-1] - alarms * hits[-1]
    return int(np.argmax(gain))


def _sensitivity_80(hits: Ints, alarms: Ints) -> int:
    del alarms
    return int(np.argmax(10 * hits >= 8 * hits[-1]))


_RULES: dict[str, Callable[[Ints, Ints], int]] = {"youden": _youden, "sensitivity_80": _sensitivity_80}
