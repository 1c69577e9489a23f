"""How well heat agrees with a region that is known: energy ratio and pointing game. Arrays only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Agreement:
    """Heat against a known region, over the images that show the region.

    Attributes:
        images: images that were scored: those wanted in which the region is present and the heat is not flat.
        flat: images that show the region whose heat is 0 everywhere: it points nowhere.
        energy: mean share of the heat inside the region.
        area: mean share of the image that the region covers: what heat spread evenly would reach.
        ratio: mean over images of energy ÷ area; 1 is chance, more is better than chance.
        pointing: share of images whose hottest pixel is in the region (Zhang et al. 2018, without tolerance; equally
            hot pixels share the image's vote); chance is ``area``.
    """

    images: int
    flat: int
    energy: float | None
    area: float | None
    ratio: float | None
    pointing: float | None


def agreement(
    heat: NDArray[np.floating], region: NDArray[np.bool_], *, among: NDArray[np.bool_] | None = None
) -> Agreement:
    """Score heat maps against one region per image; images without the region do not count.

    Args:
        heat: ``[N, h, w]``, not negative.
        region: ``[N, h, w]``.
        among: which images to score ``[N]``, so that several explanations are scored on the same; all if not given.

    Returns:
        Means over images; ``None`` where no image could be scored.
    """
    present = region.any(axis=(1, 2))
    warm = heat.any(axis=(1, 2))
    chosen = present & warm if among is None else present & warm & among
    flat = int((present & ~warm).sum())
    if not chosen.any():
        return Agreement(0, flat, None, None, None, None)
    heat, region = heat[chosen].astype(np.float64), region[chosen]
    energy = (heat * region).sum(axis=(1, 2)) / heat.sum(axis=(1, 2))
    area = region.mean(axis=(1, 2))
    # coarse heat that is resized has plateaus: its hottest pixels share one vote
    hottest = heat == heat.max(axis=(1, 2), keepdims=True)
    hit = (hottest & region).sum(axis=(1, 2)) / hottest.sum(axis=(1, 2))
    return Agreement(
        images=len(heat),
        flat=flat,
        energy=float(energy.mean()),
        area=float(area.mean()),
        ratio=float((energy / area).mean()),
        pointing=float(hit.mean()),
    )


def overlap(heat: NDArray[np.floating], region: NDArray[np.bool_]) -> float | None:
    """Return the mean overlap (intersection ÷ union) of a region with as many of the hottest pixels as it has.

    A flat map overlaps as pixels at random do; ``None`` where no image shows the region.

    Args:
        heat: ``[N, h, w]``, not negative.
        region: ``[N, h, w]``.
    """
    values = []
    for one, where in zip(heat[region.any(axis=(1, 2))], region[region.any(axis=(1, 2))], strict=True):
        size = int(where.sum())
        level = np.partition(one.ravel(), -size)[-size]
        above, at = one > level, one == level
        # of the pixels at the level, as many count as are missing, each with the same share
        share = (size - above.sum()) / at.sum()
        inside = (above & where).sum() + share * (at & where).sum()
        values.append(float(inside / (2 * size - inside)))
    return float(np.mean(values)) if values else None
