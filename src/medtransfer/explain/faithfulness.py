"""Deletion and insertion curves (Petsiuk et al. 2018): the score as the hottest pixels are taken away, or added."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]


@dataclass(frozen=True)
class Curves:
    """Mean score over images at each share of changed pixels, and the areas below.

    Attributes:
        shares: of the pixels ``[steps + 1]``, from 0 to 1.
        deletion: score when the hottest pixels are replaced ``[steps + 1]``; a low area is good.
        insertion: score when only the hottest pixels are there ``[steps + 1]``; a high area is good.
    """

    shares: Scores
    deletion: Scores
    insertion: Scores

    @property
    def deletion_area(self) -> float:
        """Area below the deletion curve."""
        return float(np.trapezoid(self.deletion, self.shares))

    @property
    def insertion_area(self) -> float:
        """Area below the insertion curve."""
        return float(np.trapezoid(self.insertion, self.shares))


def curves(
    images: NDArray[np.floating],
    heat: NDArray[np.floating],
    score: Callable[[NDArray[np.floating]], Scores],
    *,
    baseline: NDArray[np.floating],
    steps: int = 16,
    seed: int = 0,
) -> Curves:
    """Return both curves of N images.

    Args:
        images: ``[N, C, h, w]``.
        heat: ``[N, h, w]``; equally hot pixels are ordered at random, so a flat map is a random order.
        score: from images to the probability of the explained class ``[N]``.
        baseline: what replaces pixels, of the shape of the images or one that is broadcast to it.
        steps: between no pixel and all.
        seed: of the order of equal pixels.
    """
    count, pixels = len(images), heat[0].size
    noise = np.random.default_rng(seed).random((count, pixels))
    order = np.lexsort((noise, -heat.reshape(count, -1)), axis=1)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(pixels), order.shape), axis=1)
    shares = np.linspace(0, 1, steps + 1)
    without, within = [], []
    for share in shares:
        hottest = (rank < round(share * pixels)).reshape(count, 1, *heat.shape[1:])
        without.append(float(score(np.where(hottest, baseline, images)).mean()))
        within.append(float(score(np.where(hottest, images, baseline)).mean()))
    return Curves(shares, np.array(without), np.array(within))
