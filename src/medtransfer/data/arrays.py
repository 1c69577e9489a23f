"""Raw files to arrays: every image and mask decoded once, on every core.

Mask values: 0 outside the lungs; 1 to 5 the lobes right upper, right middle, right lower, left upper, left lower;
6 lung of unknown lobe (a mask file in white on black, with grey edges or not, becomes 0 and 6); + 8 where there is a
lesion.
"""

import itertools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from pydantic import Field

from medtransfer.config import Config
from medtransfer.data.images import Decoded, Pixels, equalize, read_image, resize, smooth, to_depth, window
from medtransfer.data.manifest import BEFORE_PACKING
from medtransfer.errors import DataError

MASK_VALUES = (*range(7), *range(8, 15))
FULL_RANGE = 2**16
LUNG = 6
LUNG_VALUES = 7
"""Bits of a mask value that say lung, whatever the lobe and with or without a lesion."""


class PackConfig(Config):
    """How images become an array.

    Attributes:
        size: side in pixels; images are resized to a square.
        channels: 1 for grey, 3 for colour.
        depth: bits per channel.
        equalize: spread each image's histogram.
        smooth: blur each image by a Gaussian of 3×3 pixels, after equalising and before resizing.
        window: centre and width in the files' own units, or nothing.
    """

    size: int = Field(gt=0)
    channels: Literal[1, 3] = 1
    depth: Literal[8, 16] = 8
    equalize: bool = False
    smooth: bool = False
    window: tuple[float, float] | None = None

    @classmethod
    def of(cls, preprocessing: Mapping[str, Any]) -> "PackConfig":
        """Return how the images that a network was trained on were packed, by the ``preprocessing`` stored with it."""
        return cls.model_validate({key: preprocessing[key] for key in cls.model_fields if key in preprocessing})


class Prepared:
    """Images that are prepared for packing while something else has them decoded; they wait in a file.

    Args:
        file: to make.
        most: images at the most.
        config: how they will be packed.
    """

    def __init__(self, file: Path, most: int, config: PackConfig) -> None:
        self.config, self._places, self._next = config, dict[str, tuple[int, int]](), itertools.count()
        self._shape, self._type = (config.channels, config.size, config.size), np.dtype(_dtype(config))
        self._bytes = math.prod(self._shape) * self._type.itemsize
        self._handle = file.open("w+b")  # read and written in pieces: pages of a mapping would count as memory
        _take_place(self._handle.fileno(), most * self._bytes, file)

    def add(self, path: str, image: Decoded) -> None:
        """Prepare one image; several threads may do so at once."""
        ready, highest = _prepared(image, self.config)
        place = next(self._next)
        os.pwrite(self._handle.fileno(), ready.tobytes(), place * self._bytes)
        self._places[path] = place, highest

    def get(self, path: str) -> tuple[Pixels, int]:
        """Return one image as it is packed, and the highest grey level of its file if that has 16 bits, else 0."""
        place, highest = self._places[path]
        content = os.pread(self._handle.fileno(), self._bytes, place * self._bytes)
        return np.frombuffer(content, self._type).reshape(self._shape), highest


def _prepared(image: Path | Decoded, config: PackConfig) -> tuple[Pixels, int]:
    levels = read_image(image, channels=config.channels, raw=config.window is not None)
    return prepare_image(levels, config), int(levels.max()) if levels.dtype == np.uint16 else 0


def _dtype(config: PackConfig) -> type[np.uint8] | type[np.uint16]:
    return np.uint8 if config.depth == 8 else np.uint16


def write_images(
    table: pd.DataFrame, root: Path, file: Path, config: PackConfig, *, prepared: Prepared | None = None
) -> npt.NDArray[np.float64]:
    """Write ``[N, C, H, W]`` and return each row's sum and sum of squares on 0–1 per channel ``[N, 2, C]``.

    Args:
        table: the manifest.
        root: folder of its files.
        file: to make.
        config: how images become an array.
        prepared: all of the images, to save decoding them again.

    Raises:
        DataError: an image cannot be read, or all that have 16 bits use a small part of their range without a window.
    """
    shape = (len(table), config.channels, config.size, config.size)
    images, top = allocate(file, _dtype(config), shape), np.iinfo(_dtype(config)).max
    sums, highest = np.zeros((len(table), 2, config.channels)), np.zeros(len(table), np.int64)

    def write(row: int) -> None:
        path = table["path"].iloc[row]
        image, highest[row] = prepared.get(path) if prepared else _prepared(root / path, config)
        images[row] = image
        unit = image.astype(np.float64) / top
        sums[row] = unit.sum((1, 2)), (unit**2).sum((1, 2))

    _for_each(write, range(len(table)))
    images.flush()
    if config.depth == 8 and not config.window and not config.equalize:  # with 16 bits no level is lost
        _require_range(highest, str(root))
    return sums


def allocate(file: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> "np.memmap[Any, Any]":
    """Return a new memory-mapped array whose place on the disk is taken: writing to it cannot run out of space.

    Raises:
        OSError: the disk is full, with the file's name.
    """
    array: np.memmap[Any, Any] = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
    with file.open("r+b") as handle:
        _take_place(handle.fileno(), file.stat().st_size, file)
    return array


def _take_place(descriptor: int, size: int, file: Path) -> None:
    try:
        os.posix_fallocate(descriptor, 0, max(size, 1))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error


def _require_range(highest: npt.NDArray[np.int64], place: str) -> None:
    """Refuse images of 16 bits whose content has fewer: as they are, all of them would be black."""
    top, count = int(highest.max(initial=0)), int((highest > 0).sum())
    if 0 < top < FULL_RANGE / 4:
        bits = max(top.bit_length(), 9)
        raise DataError(
            f"{place}: {count} images have 16 bits per pixel, but no grey level above {top}: their content has about "
            f"{bits} bits and would become black; set pack.window: [{2 ** (bits - 1)}, {2**bits}]"
        )


def pack_image(source: Path | bytes | Decoded, config: PackConfig) -> Pixels:
    """Return one image file, its bytes or its content, as it is packed ``[C, size, size]``.

    Raises:
        DataError: it cannot be read, or it has 16 bits of which it uses a small part and no window is set.
    """
    raw = read_image(source, channels=config.channels, raw=config.window is not None)
    if config.depth == 8 and not config.window and not config.equalize and raw.dtype == np.uint16:
        place = source.place if isinstance(source, Decoded) else source
        _require_range(np.array([raw.max()], np.int64), "the encoded image" if isinstance(place, bytes) else str(place))
    return prepare_image(raw, config)


def prepare_image(image: Pixels, config: PackConfig) -> Pixels:
    """Return one image ``[C, H, W]`` as it is packed, ``[C, size, size]``: window, equalise, smooth, resize, depth."""
    if config.window:
        image = window(image, *config.window, bits=16)
    if config.equalize:
        image = equalize(image)
    if config.smooth:
        image = smooth(image)
    return to_depth(resize(image, config.size), config.depth)


def mask_files(manifest: pd.DataFrame) -> list[str]:
    """Return the mask file of every row of a manifest before packing, an empty text where there is none."""
    return list(manifest[BEFORE_PACKING].fillna("")) if BEFORE_PACKING in manifest else [""] * len(manifest)


def write_masks(paths: Sequence[Path], file: Path, size: int) -> int:
    """Write masks ``[M, size, size]`` (nearest neighbour) and return their number; no file when there is none.

    Raises:
        DataError: a mask cannot be read or holds an unknown value.
    """
    if paths:
        masks = allocate(file, np.uint8, (len(paths), size, size))
        _for_each(lambda i: masks.__setitem__(i, _read_mask(paths[i], size)), range(len(paths)))
        masks.flush()
    return len(paths)


def _read_mask(path: Path, size: int) -> Pixels:
    return prepare_mask(read_image(path, channels=1)[0], size, where=str(path))


def prepare_mask(mask: Pixels, size: int, *, where: str) -> Pixels:
    """Return a mask ``[h, w]`` as packed: uint8 ``[size, size]`` with the values of this module, nearest neighbour.

    Raises:
        DataError: the mask holds an unknown value; ``where`` names it.
    """
    values = np.unique(mask)
    if values[-1] == 255:  # lungs in white on black; published masks were resized and have grey edges
        mask = np.where(mask >= 128, LUNG, 0)
    elif not np.isin(values, MASK_VALUES).all():
        odd = values[~np.isin(values, MASK_VALUES)][0]
        raise DataError(f"{where}: mask value {odd:g}, expected 0–6, these + 8, or white (255) on black")
    return np.asarray(Image.fromarray(mask.astype(np.uint8)).resize((size, size), Image.Resampling.NEAREST))


def _for_each(work: Callable[[int], None], rows: range) -> None:
    """Run over rows on every core; decoding frees the interpreter's lock, and each row writes its own place."""
    with ThreadPoolExecutor(os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()) as pool:
        for _ in pool.map(work, rows):
            pass
