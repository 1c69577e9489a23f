"""What the near search knows of an image: a thumbnail, and low frequencies of three frames of it.

A frame is a rectangle of the thumbnail: the whole, what remains without a plain border, and the middle of that. Grey
levels become ranks within the frame, so that brightness, contrast and equalising do not count and inverting changes the
sign. The spectrum is the frame's cosine transform (DCT-II) up to frequency 8 without the mean: mirroring changes signs
and transposing swaps frequencies, so the spectra of all eight orientations and of the negative follow from one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from medtransfer.data.images import Pixels, resize

SIDE = 64
"""Side of a thumbnail in pixels."""
FREQUENCIES = 9
FRAMES = 3
SIZE = FREQUENCIES**2 - 1
VERSION = 1
"""Changes when the same images give other arrays."""
PLAIN = 12
"""Largest range of grey levels in a row or column of a plain border."""
MIDDLE = 0.03
"""Share of the sides that the third frame leaves out on each side."""
BATCH = 1024
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Looks:
    """Thumbnails uint8 ``[N, 64, 64]`` and spectra float16 ``[N, 3, 80]`` of the same images, in memory or mapped."""

    thumbnails: Pixels
    spectra: npt.NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.thumbnails)


def make_looks(images: Pixels | Sequence[Pixels]) -> Looks:
    """Return the looks of images uint8 or uint16 ``[C, H, W]`` of any sizes."""
    small = thumbnails(images)
    parts = [spectra(small[start : start + BATCH]) for start in range(0, len(small), BATCH)]
    return Looks(small, np.concatenate([np.zeros((0, FRAMES, SIZE), np.float16), *parts]))


def thumbnails(images: Pixels | Sequence[Pixels]) -> npt.NDArray[np.uint8]:
    """Return grey thumbnails uint8 ``[N, 64, 64]`` of images ``[C, H, W]``, aspect ratio not kept."""
    small = np.empty((len(images), SIDE, SIDE), np.uint8)
    for row, image in enumerate(images):
        grey = resize(image, SIDE).mean(0)
        small[row] = np.rint(grey / (257 if image.dtype == np.uint16 else 1))
    return small


def spectra(small: Pixels) -> npt.NDArray[np.float16]:
    """Return the spectra float16 ``[N, 3, 80]`` of the frames of thumbnails; those of a plain image are zero."""
    return np.stack([spectrum(small, box) for box in boxes(small).swapaxes(0, 1)], 1).astype(np.float16)


def boxes(small: Pixels) -> Floats:
    """Return left, top, right and bottom of the frames of thumbnails, in pixels ``[N, 3, 4]``."""
    inner = content_box(small)
    whole = np.broadcast_to(np.array([0, 0, SIDE, SIDE], np.float32), inner.shape)
    margin = MIDDLE * (inner[:, 2:] - inner[:, :2])
    return np.stack([whole, inner, np.concatenate([inner[:, :2] + margin, inner[:, 2:] - margin], 1)], 1)


def content_box(small: Pixels) -> Floats:
    """Return the rectangle ``[N, 4]`` without plain rows and columns at the sides; all if less than a third is left."""
    sides = []
    for axis in (1, 2):
        plain = small.max(axis) - small.min(axis) <= PLAIN
        before, after = np.argmin(plain, 1), np.argmin(plain[:, ::-1], 1)
        first, last = before + (before > 0), SIDE - after - (after > 0)  # the next pixel is a mixture with the border
        keep = ~plain.all(1) & (last - first >= SIDE // 3)
        sides.append((np.where(keep, first, 0), np.where(keep, last, SIDE)))
    (left, right), (top, bottom) = sides
    return np.stack([left, top, right, bottom], 1).astype(np.float32)


def ranks(small: Pixels, box: Floats) -> Floats:
    """Return each pixel's rank among those of the box, from −1 to 1 with mean 0 in the box ``[N, 64, 64]``."""
    count = len(small)
    inside = _inside(box)
    codes = small.astype(np.int64) + 256 * np.arange(count)[:, None, None]
    levels = np.bincount(codes[inside], minlength=256 * count).reshape(count, 256)
    table = (2 * np.cumsum(levels, 1) - levels) / np.maximum(levels.sum(1, keepdims=True), 1) - 1
    ranked: Floats = table.astype(np.float32).ravel()[codes]
    return ranked


def orientations() -> list[tuple[npt.NDArray[np.int64], Floats]]:
    """Return the order and signs that turn a spectrum into that of each orientation, in the order of ``orient``."""
    u, v = (grid.ravel()[1:] for grid in np.mgrid[:FREQUENCIES, :FREQUENCIES])
    transposed = v * FREQUENCIES + u - 1
    result = []
    for swap, vertical, horizontal in product((False, True), (1, -1), (1, -1)):
        signs = (np.float64(vertical) ** u * np.float64(horizontal) ** v).astype(np.float32)
        result.append((transposed if swap else np.arange(SIZE), signs))
    return result


def orient(small: Pixels, orientation: int) -> Pixels:
    """Return images ``[N, h, h]`` transposed (4), upside down (2) and mirrored (1), in this order, as the bits say."""
    turned: Any = small.swapaxes(1, 2) if orientation & 4 else small
    turned = turned[:, ::-1] if orientation & 2 else turned
    turned = turned[..., ::-1] if orientation & 1 else turned
    return np.ascontiguousarray(turned)


def _inside(box: Floats) -> npt.NDArray[np.bool_]:
    centre = np.arange(SIDE) + 0.5
    left, top, right, bottom = (side[:, None] for side in box.T)
    columns, rows = (centre >= left) & (centre < right), (centre >= top) & (centre < bottom)
    inside: npt.NDArray[np.bool_] = rows[:, :, None] & columns[:, None, :]
    return inside


def spectrum(small: Pixels, box: Floats) -> Floats:
    """Return the spectra float32 ``[N, 80]`` of boxes ``[N, 4]`` of thumbnails."""
    down, across = _cosines(box[:, 1], box[:, 3]), _cosines(box[:, 0], box[:, 2])
    transform = (down @ ranks(small, box) @ across.transpose(0, 2, 1)).astype(np.float32)
    return transform.reshape(len(small), -1)[:, 1:]


def _cosines(low: Floats, high: Floats) -> Floats:
    """Return cosines over ``low`` … ``high`` integrated over pixels ``[N, 9, 64]``, √2 times longer than the mean's."""
    edges = np.clip(np.arange(SIDE + 1), low[:, None], high[:, None])
    share = (edges - low[:, None]) / (high - low)[:, None]
    turns = np.pi * np.arange(1, FREQUENCIES)[:, None]
    waves = np.diff(np.sin(turns * share[:, None]) / turns) * np.sqrt(2)
    return np.concatenate([np.diff(share)[:, None], waves], 1).astype(np.float32)
