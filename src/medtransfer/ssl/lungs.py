"""A binary lung mask of a CT slice by thresholds and components; no training, numpy and scipy only."""

import numpy as np
from numpy.typing import NDArray

SMALLEST_LUNG = 0.01
"""Share of the picture that a dark component must exceed to count as a lung."""
MOST_LUNGS = 2


def otsu(values: NDArray[np.uint8]) -> int:
    """Return the grey level t that parts ``values <= t`` from the rest with most variance between (Otsu 1979)."""
    counts = np.bincount(values.ravel(), minlength=256).astype(np.float64)
    below = counts.cumsum()
    above = below[-1] - below
    total = (counts * np.arange(256)).cumsum()
    with np.errstate(invalid="ignore", divide="ignore"):
        between = (total[-1] * below / below[-1] - total) ** 2 / (below * above)
    return int(np.nanargmax(np.where(np.isfinite(between), between, 0.0)))


def lung_mask(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the lungs: dark, inside the body, at most two pieces, each over 1 % of the picture.

    Args:
        image: [H, W] grey CT slice, bright tissue.
    """
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(image, sigma=max(image.shape) / 256)
    dark = smooth <= otsu(smooth)
    dark &= ~_touching_border(dark)
    labels, count = ndimage.label(dark)
    if not count:
        return dark
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    order = np.argsort(sizes)[::-1][:MOST_LUNGS]
    return np.isin(labels, [label for label in order if sizes[label] > SMALLEST_LUNG * image.size])


def _touching_border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    labels, _ = ndimage.label(mask)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.isin(labels, np.unique(edge[edge > 0]))
