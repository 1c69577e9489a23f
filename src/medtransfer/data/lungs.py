"""Lung masks: from a file, else from a segmenter, else the whole image counts as lung, which is counted."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from medtransfer.data.arrays import LUNG_VALUES
from medtransfer.data.images import Pixels, grey_levels
from medtransfer.data.packed import PackedDataset, Rows

Segment = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.bool_]]
"""Grey images ``[N, 1, H, W]`` to lung masks ``[N, H, W]``."""
FILE, SEGMENTER, WHOLE = "file", "segmenter", "whole image"
ORIGINS = (FILE, SEGMENTER, WHOLE)
CHUNK = 64


class LungMasks(NamedTuple):
    """Masks of N images, and where each is from."""

    masks: npt.NDArray[np.bool_]
    """``[N, H, W]``."""
    origins: list[str]
    """``file``, ``segmenter`` or ``whole image``."""


def lung_masks(data: PackedDataset, rows: Rows, segment: Segment | None = None) -> LungMasks:
    """Return where the lungs are in some rows of a data set.

    A mask file wins unless it shows no lung. Images without one are segmented, or count as lung as a whole.

    Args:
        data: the packed data set.
        rows: positions in its manifest.
        segment: finds the lungs of images without a file; none when not given.
    """
    places = data.manifest["mask_row"].to_numpy()[rows]
    given = np.zeros((len(rows), data.meta.size, data.meta.size), bool)
    if data.masks is not None and (places >= 0).any():
        given[places >= 0] = (data.masks[places[places >= 0]] & LUNG_VALUES) > 0
    lacking = ~_any(given)
    found = complete(data.images[rows[lacking]], segment)
    given[lacking] = found.masks
    origins = np.full(len(rows), FILE, object)
    origins[lacking] = found.origins
    return LungMasks(given, list(origins))


def complete(images: Pixels, segment: Segment | None) -> LungMasks:
    """Return masks of images that have no file: those of a segmenter, else the whole image.

    A mask with lung in one half of the image alone is not used: the zones of the other lung would count as healthy.

    Args:
        images: ``[N, C, H, W]``.
        segment: none when not given.
    """
    count, _, height, width = images.shape
    if segment is None or not count:
        return LungMasks(np.ones((count, height, width), bool), [WHOLE] * count)
    masks = segment(grey_levels(images)[:, None])
    middle = width // 2
    found = _any(masks[:, :, :middle]) & _any(masks[:, :, middle:])
    return LungMasks(masks | ~found[:, None, None], [SEGMENTER if one else WHOLE for one in found])


def lung_origins(data: PackedDataset, rows: Rows, segment: Segment | None = None) -> list[str]:
    """Return where the lung mask of every row is from; arguments as those of :func:`lung_masks`."""
    return [
        origin
        for start in range(0, len(rows), CHUNK)
        for origin in lung_masks(data, rows[start : start + CHUNK], segment).origins
    ]


def _any(masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return np.asarray(masks.any(axis=(1, 2)))


def count_origins(origins: list[str]) -> dict[str, int]:
    """Return how many masks are from a file, from a segmenter, and of the whole image."""
    counted = Counter(origins)
    return {origin: counted[origin] for origin in ORIGINS}
