"""Image files to arrays: every odd file has one defined outcome.

| file | outcome of ``read_image`` |
|---|---|
| 8-bit grey, colour, palette, bilevel | uint8 |
| 16-bit grey PNG, TIFF or PGM | uint16, values kept |
| 16-bit colour PNG | uint8 (the decoder keeps the upper byte) |
| CMYK, YCbCr, HSV | converted to RGB, uint8 |
| LAB | ``DataError`` |
| alpha channel or transparent colour | composited on black, uint8 |
| EXIF orientation | applied |
| animation, several pages | first frame |
| 32-bit or signed integers beyond 0–65535, floats | ``DataError``; with ``raw`` as they are, for a window |
| truncated, empty, absent, not an image | ``DataError`` |
| DICOM | uint16 grey levels, or with ``raw`` the modality's units; see ``dicom.py`` |
| DICOM of several frames | the frame that is named, ``scan.dcm#3``; without one ``DataError`` |
| more than 67,108,864 pixels or a side above 32,768 | ``DataError``, from the header alone, before decoding |

Only raster formats are tried, so that no file can start another program.
"""

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from medtransfer.data.dicom import read_dicom
from medtransfer.data.dicom_header import file_and_frame, is_dicom
from medtransfer.errors import DataError

Pixels = npt.NDArray[Any]
MAX_PIXELS = 64 * 2**20
MAX_SIDE = 32_768
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".pgm", ".ppm"})
_ORIENTATION, _LYING = 0x0112, 5
"""EXIF tag of the orientation; from this value on, width and height change places."""
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


class Decoded:
    """An image file, decoded once, that several steps read; ``read_image`` takes it in place of the file.

    Attributes:
        place: the file's name, for errors.
    """

    def __init__(self, place: str, content: Image.Image | Pixels, *, raw: bool) -> None:
        self.place, self._content, self._raw = place, content, raw

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        held = self._content
        return (held.shape[1], held.shape[0]) if isinstance(held, np.ndarray) else held.size

    @property
    def channels(self) -> Literal[1, 3]:
        """1 where the file holds grey levels, which three channels would repeat."""
        held = self._content
        grey = isinstance(held, np.ndarray) or held.mode in ("1", "L", "F") or held.mode.startswith("I")
        return 1 if grey and not (isinstance(held, Image.Image) and held.has_transparency_data) else 3

    def array(self, channels: Literal[1, 3]) -> Pixels:
        """Return what ``read_image`` returns."""
        if isinstance(self._content, np.ndarray):
            return np.repeat(self._content[None], channels, axis=0)
        return _to_array(self.place, self._content, channels, raw=self._raw)


def read_image(source: Path | bytes | Decoded, *, channels: Literal[1, 3], raw: bool = False) -> Pixels:
    """Return an image as uint8 or uint16 ``[channels, height, width]``; see the module's table.

    Colour becomes grey by ITU-R 601 luma; grey becomes colour by repetition.

    Args:
        source: the file, its frame (``scan.dcm#3``), the bytes of a file, or what ``decode`` returned.
        channels: of the result.
        raw: keep numbers that no image of 16 bits holds (Hounsfield units, floats), because a window follows. Of a
            decoded image, what was said when it was decoded counts.

    Raises:
        DataError: the file is absent, empty, truncated, too large or not an image, or holds other numbers.
    """
    return (source if isinstance(source, Decoded) else decode(source, raw=raw)).array(channels)


def decode(source: Path | bytes, *, raw: bool = False) -> Decoded:
    """Return an image file for several uses; arguments and errors as in :func:`read_image`."""
    place = "the encoded image" if isinstance(source, bytes) else str(source)
    source, frame = (source, None) if isinstance(source, bytes) else file_and_frame(source)
    _require_content(source, place)
    if is_dicom(source):
        return Decoded(place, read_dicom(source, place, most_pixels=MAX_PIXELS, raw=raw, frame=frame), raw=raw)
    if frame is not None:
        raise DataError(f"{place}: no DICOM, so without frames; name the file alone")
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as opened:
            _check_size(place, opened.size)
            opened.load()
            return Decoded(place, ImageOps.exif_transpose(opened), raw=raw)
    except _BOMBS as error:
        raise DataError(f"{place}: {error}; make it smaller, at most {MAX_PIXELS} pixels are read") from error
    except UnidentifiedImageError as error:
        known = ", ".join((*FORMATS, "DICOM"))
        raise DataError(f"{place}: not an image, expected one of {known}; remove or convert it") from error
    except _DAMAGE as error:
        raise DataError(f"{place}: damaged image ({error}), expected a whole file; download it again") from error


def _require_content(source: Path | bytes, place: str) -> None:
    if isinstance(source, Path) and not source.is_file():
        raise DataError(f"{place}: no such image; restore the file or take it off the list")
    if not (source if isinstance(source, bytes) else source.stat().st_size):
        raise DataError(f"{place}: the image file is empty, expected image data; download it again")


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height in pixels as ``read_image`` would give them, from the file's header alone.

    Raises:
        DataError: the file is absent or not an image.
    """
    try:
        with Image.open(path, formats=FORMATS) as opened:
            width, height = opened.size
            turned = opened.getexif().get(_ORIENTATION, 1) >= _LYING
    except (UnidentifiedImageError, *_BOMBS, *_DAMAGE) as error:
        raise DataError(f"{path}: not a readable image ({error}); restore or remove it") from error
    return (height, width) if turned else (width, height)


def to_depth(image: Pixels, bits: Literal[8, 16]) -> Pixels:
    """Return the image as uint8 or uint16; the whole range maps to the whole range (factor 257), rounded to nearest."""
    if image.dtype == np.uint16 and bits == 8:
        return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if image.dtype == np.uint8 and bits == 16:
        return image.astype(np.uint16) * np.uint16(257)
    return image


def equalize(image: Pixels) -> Pixels:
    """Spread each channel's histogram over the whole range of its type (uint8 or uint16); a constant channel stays.

    ``v → round((cdf(v) − cdf_min) / (n − cdf_min) · max)``, Gonzalez & Woods, Digital Image Processing, section 3.3.
    """
    return np.stack([_equalize_channel(channel) for channel in image])


def smooth(image: Pixels) -> Pixels:
    """Blur ``[C, H, W]`` by the 3×3 kernel of the weights 1/4, 1/2, 1/4 along both axes; edges are mirrored.

    The preprocessing of Park et al. 2022 (the kernel is OpenCV's Gaussian of that size). Results are rounded.
    """
    padded = np.pad(
        image.astype(np.int64), ((0, 0), (1, 1), (1, 1)), mode="reflect" if min(image.shape[1:]) > 1 else "edge"
    )
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    sums = rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]
    blurred: Pixels = ((sums + 8) // 16).astype(image.dtype)
    return blurred


def window(image: Pixels, centre: float, width: float, *, bits: Literal[8, 16] = 8) -> Pixels:
    """Map ``centre ± width/2`` linearly to the whole range of ``bits``; values outside are clipped.

    Works on raw numbers (for example Hounsfield units) before they are quantised (DICOM PS3.3 C.11.2.1.3.2).

    Raises:
        DataError: the width is not positive.
    """
    if width <= 0:
        raise DataError(f"window: width {width} is not positive; give the width in the units of the pixels")
    top = 2**bits - 1
    share = (image.astype(np.float64) - centre) / width + 0.5
    quantised: Pixels = np.rint(np.clip(share, 0, 1) * top).astype(np.uint8 if bits == 8 else np.uint16)
    return quantised


def grey_levels(images: Pixels) -> npt.NDArray[np.uint8]:
    """Return images ``[N, C, H, W]`` of any depth and colour as uint8 ``[N, H, W]``."""
    mean = images.mean(1, dtype=np.float64) / (257 if images.dtype == np.uint16 else 1)
    grey: npt.NDArray[np.uint8] = np.rint(mean).astype(np.uint8)
    return grey


def resize(image: Pixels, size: int) -> Pixels:
    """Return ``[C, size, size]`` of the same type: antialiased bilinear, aspect ratio not kept."""
    if image.shape[1:] == (size, size):
        return image
    return np.stack([_resize_channel(channel, size) for channel in image])


def _check_size(path: str, size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS or max(size) > MAX_SIDE:
        raise DataError(
            f"{path}: {width}×{height} pixels are too many, expected at most {MAX_PIXELS} and a side of {MAX_SIDE}; "
            "make the image smaller"
        )


def _to_array(path: str, image: Image.Image, channels: int, *, raw: bool) -> Pixels:
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.asarray(image)
        if not raw or _fits(grey) or not np.isfinite(grey).all():
            grey = _sixteen_bits(path, grey)
    elif image.mode == "LAB":
        raise DataError(f"{path}: colours in the LAB space, expected grey or RGB; convert the image")
    else:
        image = _opaque(image)
        if channels == 3:
            return np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1))
        grey = np.asarray(image.convert("L"))
    return np.repeat(grey[None], channels, axis=0)


def _fits(values: Pixels) -> bool:
    return values.dtype.kind != "f" and values.min() >= 0 and values.max() <= 65_535


def _sixteen_bits(path: str, values: Pixels) -> Pixels:
    remedy = "set pack.window to their centre and width, or convert the image"
    if not np.isfinite(values).all():
        raise DataError(f"{path}: pixels that are no numbers (NaN or infinite); correct the image")
    if values.dtype.kind == "f":
        raise DataError(f"{path}: floating-point pixels, expected 8 or 16 bits; {remedy}")
    if not _fits(values):
        raise DataError(f"{path}: pixels {values.min()} to {values.max()}, expected 0 to 65535; {remedy}")
    return values.astype(np.uint16)


def _opaque(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    black = Image.new("RGBA", layer.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, layer).convert("RGB")


def _equalize_channel(channel: Pixels) -> Pixels:
    top = int(np.iinfo(channel.dtype).max)
    cumulated = np.bincount(channel.ravel(), minlength=top + 1).cumsum()
    first = cumulated[channel.min()]
    if first == channel.size:
        return channel.copy()
    table = np.rint((cumulated - first).clip(0) / (channel.size - first) * top)
    equalized: Pixels = table.astype(channel.dtype)[channel]
    return equalized


def _resize_channel(channel: Pixels, size: int) -> Pixels:
    if channel.dtype == np.uint8:
        return np.asarray(Image.fromarray(channel).resize((size, size), Image.Resampling.BILINEAR))
    smooth = Image.fromarray(channel.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR)
    rounded: Pixels = np.rint(np.asarray(smooth)).clip(0, 65_535).astype(np.uint16)
    return rounded
