"""What every phantom carries: the image, its mask and the record of planted shortcuts."""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float64]
Bytes: TypeAlias = NDArray[np.uint8]
Bits: TypeAlias = NDArray[np.bool_]

LOBES = {"ru": 1, "rm": 2, "rl": 3, "lu": 4, "ll": 5}
LUNG = 6
LESION = 8


@dataclass(frozen=True)
class Marker:
    """Burnt-in letters and their box in pixels (left, top, right, bottom; the last two are exclusive)."""

    text: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Phantom:
    """One drawn image with its truth.

    Attributes:
        image: ``[h, w]`` grey or ``[h, w, 3]`` colour, uint8.
        mask: ``[h, w]`` uint8; low three bits 0 outside the lungs, 1-5 lobes ru rm rl lu ll, 6 lung without lobe; bit 3
            marks the lesion that the label refers to.
        label: class name.
        source: hospital, empty for natural images.
        view: ``PA``, ``AP``, ``axial`` or empty.
        findings: 1.0 or 0.0 for each finding that was drawn or not.
        marker: burnt-in letters, if there are any.
    """

    image: Bytes
    mask: Bytes
    label: str
    source: str = ""
    view: str = ""
    findings: dict[str, float] = field(default_factory=dict)
    marker: Marker | None = None


def lungs(mask: Bytes) -> Bits:
    """Return where a mask ``[h, w]`` shows lung, with or without a lobe."""
    return (mask & 7) > 0


def lesions(mask: Bytes) -> Bits:
    """Return where a mask ``[h, w]`` shows lesion."""
    return (mask & LESION) > 0
