"""A probability in words: how many validation images with a similar score had the class; nothing is fitted."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

BINS = 5
"""Equal parts of 0–1."""
FEWEST = 10
"""Validation images in a part below which nothing is said of it."""
UNKNOWN = "how often such a score is right is not known"


def calibration_words(
    scores: Mapping[str, float], validation: pd.DataFrame | None, *, pairs: Iterable[tuple[str, ...]] = ()
) -> dict[str, str]:
    """Return for each probability what validation says of scores like it, or that it says nothing.

    Args:
        scores: probability by output.
        validation: predictions of the model on validation images (``evaluation/predictions.py``); None where the
            model was registered without them.
        pairs: outputs whose probabilities add up to 1. Predictions have one of them; nothing is said of the other.
    """
    if validation is None:
        return dict.fromkeys(scores, f"{UNKNOWN}: the model has no validation predictions")
    known = validation[(validation["kind"] == "probability") & validation["target"].notna()]
    measured = set(known["output"])
    complements = {name for pair in pairs if measured & {*pair} for name in pair} - measured
    return {
        output: _words(output, score, known[known["output"] == output])
        for output, score in scores.items()
        if output not in complements
    }


def _words(output: str, score: float, known: pd.DataFrame) -> str:
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
