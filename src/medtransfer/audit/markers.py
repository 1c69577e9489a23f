"""A simple text detector for images whose markers nobody has annotated. It errs, so no verdict rests on it."""

import numpy as np
from scipy import ndimage

from medtransfer.audit.cases import Bits, Grey

DETECTOR = "bright strokes"
"""Name of the detector: small bright strokes outside the lungs that stand out from their surroundings."""
CONTRAST, LARGEST, PIXELS = 0.35, 1 / 6, 4


def find_text(images: Grey, lungs: Bits) -> Bits:
    """Return boxes around what looks like burnt-in text ``[N, h, w]``.

    White top-hat above ``CONTRAST`` of the grey range; strokes closer than a sixteenth of the side are one group, and
    a group larger than ``LARGEST`` of the side in both directions is anatomy.

    Args:
        images: on 0–1 ``[N, h, w]``.
        lungs: where text is not looked for ``[N, h, w]``.
    """
    side = images.shape[-1]
    reach = max(1, side // 16)
    found = np.zeros(images.shape, bool)
    for image, inside, boxes in zip(images, lungs, found, strict=True):
        strokes = image - ndimage.grey_opening(image, size=max(5, side // 12)) > CONTRAST
        groups, _ = ndimage.label(ndimage.binary_dilation(strokes & ~inside, iterations=reach))
        for place in ndimage.find_objects(groups):
            height, width = (part.stop - part.start - 2 * reach for part in place)
            if min(height, width) < LARGEST * side and strokes[place].sum() >= PIXELS:
                boxes[place] = True
    return found
