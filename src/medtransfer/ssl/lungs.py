"""A binary lung mask of a CT slice by thresholds and components; no training, numpy and scipy only."""

import numpy as np
from numpy.typing import NDArray

SMALLEST_LUNG = 0.01
"""Share of the image that a dark component must exceed to count as a lung."""
MOST_LUNGS = 2
SMALLEST_BODY = 1 / 3
"""Share of the image under which what is left as body may be heart and muscle alone.

In a window for soft tissue fat is nearer to black than to white, so it passes for air and joins the lungs to the air
outside. The body of a small patient in a wide field of view covers as little, but holds the lungs.
"""
AIR_CONTACT = 3.0
"""Air around the body touches the image's edge along more than the square root of this many times its area.

Strips, corners and rings reach 8 and more; a lung that a tight crop cuts stays under 2.
"""
FRAME_RANGE = 8
"""Grey levels within which an outermost row or column counts as an even frame."""
WIDEST_FRAME = 1 / 8
"""Share of the image's side up to which an even margin counts as a frame."""


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
    """Return the lungs: dark, inside the body, at most two pieces, each over 1 % of the image.

    Even frames around the image are left out; a light blur and Otsu's threshold part dark from bright; air around the
    body is what touches the image's edge along much of its outline after an opening, so that neither a lung which the
    edge cuts nor one behind a thin chest wall is taken for it; the threshold is then found again without that air.
    Where little is left as body, Otsu's threshold among the dark values is tried too, and the larger lungs are kept.

    Args:
        image: [H, W] grey CT slice, bright tissue.
    """
    from scipy import ndimage

    mask = np.zeros(image.shape, dtype=bool)
    inner = _without_frame(image)
    unframed = image[inner]
    if min(unframed.shape) < 3:
        return mask
    smooth = ndimage.gaussian_filter(unframed, sigma=max(image.shape) / 256)
    smallest = SMALLEST_LUNG * image.size
    air = otsu(smooth)
    outside = _outside_air(smooth <= air)
    body = smooth[~outside]
    if body.size:
        mask[inner] = _enclosed(smooth <= otsu(body), outside, smallest)
    if body.size < SMALLEST_BODY * smooth.size:
        black = smooth <= otsu(smooth[smooth <= air])
        other = _enclosed(black, _outside_air(black), smallest)
        mask[inner] = other if other.sum() > mask.sum() else mask[inner]
    return mask


def _enclosed(dark: NDArray[np.bool_], outside: NDArray[np.bool_], smallest: float) -> NDArray[np.bool_]:
    """Return the largest dark pieces that lie inside the body."""
    dark = _opened(dark & ~outside)
    return _largest(dark & ~_outside_air(dark), smallest=smallest)


def _without_frame(image: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Return the rows and columns that remain when outermost even ones are peeled off."""
    return _uneven(image), _uneven(image.T)


def _uneven(lines: NDArray[np.uint8]) -> slice:
    uneven = np.flatnonzero(np.ptp(lines, axis=1) > FRAME_RANGE)
    if not len(uneven):
        return slice(0, 0)
    before, after = int(uneven[0]), len(lines) - 1 - int(uneven[-1])
    return slice(_peel(before, len(lines)), len(lines) - _peel(after, len(lines)))


def _peel(even: int, length: int) -> int:
    """Return how many outermost lines to leave out: a broad even margin is saturated tissue or air, not a frame."""
    # one more, since the line next to a frame blends both when the image was resized
    return even + 1 if 0 < even <= WIDEST_FRAME * length else 0


def _opened(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    rounds = max(1, round(max(mask.shape) / 128))
    # pixels beyond the edge continue the image: a lung that the edge cuts keeps touching it
    eroded = ndimage.binary_erosion(mask, iterations=rounds, border_value=1)
    return np.asarray(ndimage.binary_dilation(eroded, iterations=rounds), dtype=bool)


def _outside_air(dark: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    labels, count = ndimage.label(_opened(dark))
    edge = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    contact = np.bincount(edge, minlength=count + 1)
    area = np.bincount(labels.ravel(), minlength=count + 1)
    outside = contact**2 > AIR_CONTACT * area
    outside[0] = False
    return np.asarray(outside[labels], dtype=bool)


def _largest(mask: NDArray[np.bool_], *, smallest: float) -> NDArray[np.bool_]:
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    order = np.argsort(sizes)[::-1][:MOST_LUNGS]
    lungs = [label for label in order if sizes[label] > smallest]
    return np.asarray(np.isin(labels, lungs), dtype=bool)
