"""Maps of one network scored: against known regions, against the network's own score, and sanity tests."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtransfer.explain.faithfulness import curves
from medtransfer.explain.localisation import agreement, overlap

Heats = Mapping[str, NDArray[np.float32]]
FLOOR = "noise"
"""Name of a map of random numbers: what an explainer has to be better than."""
STEPS = 8
"""Of the deletion and insertion curves."""


@dataclass(frozen=True)
class Score:
    """One explainer of one network.

    Attributes:
        explainer: its name, or ``FLOOR``.
        lesion_images: images whose lesions are known and whose map is not flat.
        flat: images with lesions whose map is flat: it points nowhere.
        pointing: share of these images whose hottest pixel is in a lesion.
        chance: mean share of the image that lesions cover: the pointing game's chance.
        overlap: intersection ÷ union of the lesions with as many of the hottest pixels.
        in_lungs: mean share of the heat inside the lungs.
        lungs: mean share of the image that the lungs cover: what evenly spread heat would reach.
        deletion: area under the score as the hottest pixels are taken away, positives; low is good.
        insertion: area under the score as the hottest pixels are added, positives; high is good.
        head: likeness to the maps of the network with a shuffled output layer.
        weights: likeness to the maps of the network with all weights shuffled.
        labels: likeness to the maps of a network trained on permuted labels.
    """

    explainer: str
    lesion_images: int = 0
    flat: int = 0
    pointing: float | None = None
    chance: float | None = None
    overlap: float | None = None
    in_lungs: float | None = None
    lungs: float | None = None
    deletion: float | None = None
    insertion: float | None = None
    head: float | None = None
    weights: float | None = None
    labels: float | None = None

    def plain(self) -> dict[str, Any]:
        """Return the score for JSON."""
        return asdict(self)


def with_floor(heats: Heats, *, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Return maps by explainer with a map of noise as the last one."""
    shape = next(iter(heats.values())).shape
    return {**heats, FLOOR: np.random.default_rng(seed).random(shape, np.float32)}


def located(heat: NDArray[np.float32], lesions: NDArray[np.bool_], lungs: NDArray[np.bool_]) -> dict[str, Any]:
    """Return how well maps ``[N, h, w]`` agree with lesions and lungs ``[N, h, w]``, as fields of ``Score``."""
    lesion, lung = agreement(heat, lesions), agreement(heat, lungs)
    return {
        "lesion_images": lesion.images,
        "flat": lesion.flat,
        "pointing": lesion.pointing,
        "chance": lesion.area,
        "overlap": overlap(heat, lesions),
        "in_lungs": lung.energy,
        "lungs": lung.area,
    }


def faithful(
    images: NDArray[np.float32],
    heat: NDArray[np.float32],
    score: Callable[[NDArray[np.floating]], NDArray[np.floating]],
) -> dict[str, Any]:
    """Return both areas of positives, as fields of ``Score``; removed pixels have the mean grey level of training.

    Args:
        images: normalised ``[N, 3, h, w]``; 0 is the mean.
        heat: ``[N, h, w]``.
        score: from images to the probability of the explained class.
    """
    found = curves(images, heat, score, baseline=np.zeros((1, 1, 1, 1), np.float32), steps=STEPS)
    return {"deletion": found.deletion_area, "insertion": found.insertion_area}
