"""Fits that give every image the same score: their weights are whole and their losses finite, but they tell nothing."""

from collections.abc import Collection

import pandas as pd

from medtransfer.evaluation.cells import Key

NO_SPREAD = 1e-6
"""Scores that differ by less are the same, but for rounding."""


def indifferent(predictions: pd.DataFrame, fits: Collection[Key]) -> list[str]:
    """Return one sentence per fit and output whose scores are the same on all images, in the order of the table.

    Args:
        predictions: predictions table (``evaluation/predictions.py``); rows with an intervention are left out.
        fits: (variant, condition) of the fits that are asked; floors, which may be constant on purpose, are not.
    """
    own = pd.MultiIndex.from_frame(predictions[["variant", "condition"]]).isin(list(fits))
    rows = predictions[own & (predictions["intervention"] == "")]
    sentences = []
    for (variant, condition, seed, output), part in rows.groupby(
        ["variant", "condition", "seed", "output"], sort=False
    ):
        if same := same_score(part):
            sentences.append(f"{variant} · {condition} · seed {seed} tells no images apart: for {output}, {same}.")
    return sentences


def same_score(rows: pd.DataFrame) -> str:
    """Return in words that all images of one fit and output have the same score; empty where they do not."""
    score = rows["score"]
    if rows["image_id"].nunique() < 2 or score.max() - score.min() >= NO_SPREAD:
        return ""
    return f"each of {rows['image_id'].nunique()} images has the score {score.iloc[0]:.3g}"
