"""Frozen features of images for probes: nothing is learnt, so that what a probe reads is in the data alone.

Two kinds: a thumbnail, which knows places, and statistics of the grey levels and edges, which know none. A marker at
one of a few places is read from the first, one that wanders from the second.
"""

import numpy as np
from scipy import ndimage

from medtransfer.audit.cases import Bits, Floats, Grey

THUMBNAIL = 32
COARSE = 8
BINS = 16
CHUNK = 128


def thumbnail(images: Grey, keep: Bits | None = None) -> Floats:
    """Return means over ``THUMBNAIL × THUMBNAIL`` cells ``[N, cells]``; cells without a kept pixel are 0.

    Args:
        images: on 0–1 ``[N, h, w]``.
        keep: pixels that count ``[N, h, w]``; all if not given.
    """
    return _cells(images, keep, THUMBNAIL)


def statistics(images: Grey, keep: Bits | None = None) -> Floats:
    """Return statistics of the kept pixels ``[N, values]`` that do not depend on where they are, but for a coarse grid.

    Shares of grey levels, shares of edge strengths, shares of bright detail (white top-hat), and in ``COARSE × COARSE``
    cells the mean strength of edges and detail.
    """
    starts = range(0, len(images), CHUNK)
    kept = [None if keep is None else keep[start : start + CHUNK] for start in starts]
    return np.concatenate(
        [_statistics(images[start : start + CHUNK], own) for start, own in zip(starts, kept, strict=True)]
    )


def _statistics(images: Grey, keep: Bits | None) -> Floats:
    edges = np.hypot(ndimage.sobel(images, axis=1), ndimage.sobel(images, axis=2)) / 4
    detail = images - ndimage.grey_opening(images, size=(1, *(_detail(side) for side in images.shape[1:])))
    inside = None if keep is None else ndimage.binary_erosion(keep, np.ones((1, 3, 3), bool))
    parts = [_shares(images, keep, 1.0), _shares(edges, inside, 0.5), _shares(detail, inside, 0.5)]
    parts += [_cells(values, inside, COARSE) for values in (edges, detail)]
    return np.concatenate(parts, axis=1)


def _detail(side: int) -> int:
    return max(3, side // 20)


def _shares(values: Grey, keep: Bits | None, top: float) -> Floats:
    """Return the logarithm of the share of pixels in each of ``BINS`` bins ``[N, BINS]``."""
    bins = np.minimum((values * (BINS / top)).astype(np.int64), BINS - 1)
    weight = np.ones(values.shape) if keep is None else keep.astype(np.float64)
    flat = bins + BINS * np.arange(len(values))[:, None, None]
    counts = np.bincount(flat.ravel(), weight.ravel(), minlength=BINS * len(values)).reshape(-1, BINS)
    return np.asarray(np.log((counts + 1) / (counts.sum(1, keepdims=True) + BINS)))


def _cells(values: Grey, keep: Bits | None, count: int) -> Floats:
    """Return means of the kept pixels in ``count × count`` cells ``[N, cells]``, 0 where there is none."""
    weight = np.ones(values.shape, np.float32) if keep is None else keep.astype(np.float32)
    total, kept = (_sums(_sums(part, count, 1), count, 2) for part in (values * weight, weight))
    means = np.divide(total, kept, out=np.zeros_like(total), where=kept > 0)
    return means.reshape(len(values), -1).astype(np.float64)


def _sums(values: Grey, count: int, axis: int) -> Grey:
    """Return sums over ``count`` neighbouring stretches of an axis; a small image repeats pixels."""
    side = values.shape[axis]
    if side < count:
        values, side = np.repeat(values, -(-count // side), axis=axis), side * -(-count // side)
    return np.asarray(np.add.reduceat(values, np.arange(count) * side // count, axis=axis), np.float32)
