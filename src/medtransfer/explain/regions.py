"""Contact sheet of lobe regions: which slices it shows, and each with its regions cut out."""

import numpy as np
import torch
from numpy.typing import NDArray

from medtransfer.data.windows import crop_boxes
from medtransfer.explain.panels import RegionCase

SLICES, FALLBACKS = 8, 2
"""Slices on the contact sheet: evenly spaced ones, and up to ``FALLBACKS`` in which no lungs were found."""


def sheet_places(found: NDArray[np.bool_]) -> list[int]:
    """Return which of N slices to show, each once.

    Args:
        found: whether lungs were found ``[N]``.
    """
    evenly = np.linspace(0, len(found) - 1, min(SLICES, len(found))).round().astype(np.int64)
    return list(dict.fromkeys([*evenly.tolist(), *np.flatnonzero(~found)[:FALLBACKS].tolist()]))


def region_case(
    image: NDArray[np.uint8], boxes: NDArray[np.float32], lungs: NDArray[np.bool_], *, found: bool
) -> RegionCase:
    """Cut the regions out of one slice, each resized to the slice's side.

    Args:
        image: ``[h, w]`` grey.
        boxes: x0, y0, x1, y1 in pixels ``[regions, 4]``.
        lungs: ``[h, w]``.
        found: False where the whole slice takes the place of the lungs.
    """
    crops = crop_boxes(torch.from_numpy(image)[None, None], torch.from_numpy(boxes)[None], len(image))
    title = "" if found else "no lungs found: whole slice"
    return RegionCase(title, image, boxes, lungs, crops[:, 0].numpy())
