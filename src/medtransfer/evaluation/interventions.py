"""What an intervention changes: whether layers that were switched off did anything to the predictions."""

import numpy as np
import numpy.typing as npt

INSERTED_OFF = "inserted_off"
"""The intervention of predictions made with a network's inserted layers switched off."""
INACTIVE_BELOW = 0.01
"""Inserted layers are *inactive*, asleep, when switching them off changes every probability by less than this."""


def inactive(largest: float) -> bool:
    """Return whether layers are inactive whose absence changes no probability by more than ``largest``."""
    return largest < INACTIVE_BELOW


def probability_change(before: npt.NDArray[np.floating], after: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Return how far class probabilities ``[images, classes]`` move: the mean over images, and the largest.

    Of one image it is half the sum of the absolute changes of its classes (total variation); of two classes that is
    the change of either.
    """
    moved = np.abs(after.astype(np.float64) - before.astype(np.float64)).sum(axis=1) / 2
    return float(moved.mean()), float(moved.max())
