"""What an audit looks at: images of one question with labels, patients and all that is known about where and whose."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medtransfer.errors import DataError

Bits = NDArray[np.bool_]
Floats = NDArray[np.float64]
Grey = NDArray[np.float32]

BORDER = 1 / 8
"""Width of the border as a share of the image's side."""
MARGIN = 1 / 48
"""What is added around the lungs, as a share of the side: masks are not exact to the pixel."""


@dataclass(frozen=True)
class Cases:
    """N images of one question.

    Attributes:
        images: ``[N, C, h, w]`` uint8 or uint16, as the network sees them: cropped, not normalised.
        target: 1 or 0 ``[N]``.
        patients: ``[N]``.
        attributes: ``source``, ``view``, ``sex``, … → ``[N]`` texts, empty where not known.
        lungs: ``[N, h, w]``, empty where an image has no mask; ``None`` where no image has one.
        markers: ``[N, h, w]``, boxes of burnt-in markers; ``None`` where their places are not known.
    """

    images: NDArray[Any]
    target: NDArray[np.int64]
    patients: NDArray[np.object_]
    attributes: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)
    lungs: Bits | None = None
    markers: Bits | None = None

    def __post_init__(self) -> None:
        """Refuse parts of different lengths and labels that are neither 0 nor 1."""
        count = len(self.images)
        parts = {"target": self.target, "patients": self.patients, **self.attributes}
        parts |= {name: getattr(self, name) for name in ("lungs", "markers") if getattr(self, name) is not None}
        wrong = [name for name, part in parts.items() if len(part) != count]
        if wrong:
            raise DataError(
                f"audit: {wrong[0]} has {len(parts[wrong[0]])} entries for {count} images; pass one per image"
            )
        if not np.isin(self.target, (0, 1)).all():
            raise DataError("audit: a label is neither 0 nor 1; leave images without a label out")

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def grey(self) -> Grey:
        """The images on 0–1 ``[N, h, w]``, channels averaged."""
        grey: Grey = self.images.astype(np.float32).mean(axis=1) / float(np.iinfo(self.images.dtype).max)
        return grey

    @cached_property
    def wide_lungs(self) -> Bits:
        """The lungs with ``MARGIN`` around them; empty where an image has no mask."""
        if self.lungs is None:
            return np.zeros((len(self), *self.images.shape[2:]), bool)
        reach = max(1, round(MARGIN * self.images.shape[-1]))
        wide: Bits = ndimage.maximum_filter(self.lungs, size=(1, 2 * reach + 1, 2 * reach + 1), mode="constant")
        return wide

    @cached_property
    def masked(self) -> Bits:
        """Which images have a lung mask ``[N]``."""
        return np.asarray(self.wide_lungs.any(axis=(1, 2)))

    @cached_property
    def border(self) -> Bits:
        """The border of every image ``[N, h, w]``, without lungs where they are known."""
        return np.broadcast_to(frame(self.images.shape[2:]), self.wide_lungs.shape) & ~self.wide_lungs

    def surroundings(self, other: NDArray[np.int64]) -> Bits:
        """Return what is outside the lungs of each image and of its partner ``[N, h, w]``.

        The border alone where either has no lung mask.

        Args:
            other: number of each image's partner ``[N]``.
        """
        both = (self.masked & self.masked[other])[:, None, None]
        outside = ~self.wide_lungs & ~self.wide_lungs[other]
        return np.where(both, outside, self.border & self.border[other])


def frame(size: tuple[int, ...]) -> Bits:
    """Return the border of an image ``[h, w]``."""
    height, width = size
    rows, columns = round(BORDER * height), round(BORDER * width)
    result = np.ones((height, width), bool)
    result[rows : height - rows, columns : width - columns] = False
    return result
