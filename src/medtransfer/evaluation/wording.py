"""A probability in words: how many validation images with a similar score had the class; nothing is fitted."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

BINS = 5
"""Equal parts of 0–1."""
FEWEST = 10
"""Validation images in a part below which nothing is said of it."""
UNKNOWN = "how often such a score is right is not known"


def calibration_words(scores: Mapping[str, float], validation: pd.DataFrame | None) -> dict[str, str]:
    """Return for each probability what validation says of scores like it, or that it says nothing.

    Args:
        scores: probability by output.
        validation: predictions of the model on validation images (``evaluation/predictions.py``); None where the
            model was registered without them.
    """
    return {output: _words(output, score, validation) for output, score in scores.items()}


def _words(output: str, score: float, validation: pd.DataFrame | None) -> str:
    if validation is None:
        return f"{UNKNOWN}: the model has no validation predictions"
    probability = (validation["output"] == output) & (validation["kind"] == "probability")
    known = validation[probability & validation["target"].notna()]
    if known.empty:
        return f"{UNKNOWN}: it was not measured on validation images"
    part = _part(np.array([score]))[0]
    alike = known[_part(known["score"].to_numpy(np.float64)) == part]
    between = f"a score of {part / BINS:.1f} to {(part + 1) / BINS:.1f}"
    if len(alike) < FEWEST:
        return f"{UNKNOWN}: only {len(alike)} validation images have {between}"
    count = int(alike["target"].sum())
    return f"of {len(alike)} validation images with {between}, {count} were {output} ({count / len(alike):.0%})"


def _part(scores: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.minimum((scores * BINS).astype(np.int64), BINS - 1)
