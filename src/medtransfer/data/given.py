"""Images that somebody gives to a finished model, prepared by the functions that prepared its training data.

They are arrays of grey levels, or image files as paths, bytes or base64 code. The registered model, the server and the
Python functions read their images here.
"""

import binascii
import math
import os
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medtransfer.data.arrays import PackConfig, pack_image
from medtransfer.data.images import Decoded, Pixels, decode, equalize, resize, smooth
from medtransfer.errors import DataError

File = Path | bytes | Decoded
"""An image file: its path, its bytes, or its content."""
Facts = tuple[float, float, float]
"""Of a file: base-2 logarithms of its shorter side in pixels and of width ÷ height, and 1 for a colour image."""
MAX_IMAGES = 256
"""Images in one call."""
_CHUNK = 32
_LONGEST, _TINT = 2.5, 0.1
_SCALED = "nothing above 1, expected grey levels 0 to 255 (not scaled to 0–1)"


def packed_batches(
    given: Any, preprocessing: Mapping[str, Any], *, facts: list[Facts] | None = None
) -> Iterator[npt.NDArray[Any]]:
    """Yield images as the training images were packed ``[chunk, C, size, size]``; files are decoded as they come.

    Args:
        given: grey levels ``[N, C, H, W]``, or a list of paths, bytes or base64 codes of image files.
        preprocessing: of the model's config.json.
        facts: is extended by what is known of each file.

    Raises:
        DataError: the images are outside the contract of ``tracking/serving.py``.
    """
    if (files := encoded_files(given)) is None:
        images = check_images(given, preprocessing["channels"])
        for start in range(0, len(images), _CHUNK):
            yield pack_arrays(images[start : start + _CHUNK], preprocessing)
        return
    config = PackConfig.of(preprocessing)

    def read(file: File) -> tuple[Pixels, Facts | None]:
        image = file if isinstance(file, Decoded) else decode(file, raw=config.window is not None)
        return pack_image(image, config), None if facts is None else file_facts(image)

    with ThreadPoolExecutor(min(len(files), len(os.sched_getaffinity(0)))) as pool:  # decoding releases the lock
        for start in range(0, len(files), _CHUNK):  # a chunk ahead of the network is slower: both take every core
            chunk = list(pool.map(read, files[start : start + _CHUNK]))
            if facts is not None:
                facts += [known for _, known in chunk if known]
            yield np.stack([packed for packed, _ in chunk])


def encoded_files(given: Any) -> list[File] | None:
    """Return image files as paths, bytes or contents; nothing where the input is arrays.

    Raises:
        DataError: too many, of several kinds, or text that is no base64 code.
    """
    if isinstance(given, (str, bytes, Path, Decoded)):
        given = [given]
    if isinstance(given, np.ndarray) and given.ndim == 1 and given.dtype.kind in "OSU":
        given = given.tolist()
    if not isinstance(given, (list, tuple)) or not all(isinstance(each, (str, bytes, Path, Decoded)) for each in given):
        return None
    if not given:
        raise DataError("no image; send one or more")
    _require_few(len(given))
    return [_decoded(each) if isinstance(each, str) else each for each in given]


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise DataError(
            f"the text {text[:40]!r} is no base64 code of an image file; give a path as pathlib.Path"
        ) from None


def check_images(images: Any, channels: int) -> npt.NDArray[np.uint8]:
    """Return images as uint8 ``[N, channels, H, W]``.

    Raises:
        DataError: wrong rank, channels, number or type; NaN; values outside 0–255 or between whole numbers.
    """
    try:
        array = np.asarray(images)
    except ValueError:
        raise DataError(f"images differ in shape, expected one array [N, {channels}, height, width]") from None
    if array.ndim != 4 or array.shape[1] != channels or 0 in array.shape:
        raise DataError(f"images have shape {list(array.shape)}, expected [N, {channels}, height, width]")
    _require_few(len(array))
    return _grey_levels(array)


def pack_arrays(images: npt.NDArray[np.uint8], preprocessing: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    """Return windowed grey levels as the training images were packed ``[N, C, size, size]``."""
    spread = [equalize(image) for image in images] if preprocessing["equalize"] else list(images)
    clean = [smooth(image) for image in spread] if preprocessing.get("smooth") else spread
    return np.stack([resize(image, preprocessing["size"]) for image in clean])


def pack_file(file: File, preprocessing: Mapping[str, Any]) -> Pixels:
    """Return one image file, read and prepared as the training images were ``[C, size, size]``.

    Raises:
        DataError: the file cannot be read.
    """
    return pack_image(file, PackConfig.of(preprocessing))


def normalised(packed: npt.NDArray[Any], preprocessing: Mapping[str, Any]) -> Any:
    """Return the network's input, float ``[N, 3, crop, crop]``: centre crop and normalise."""
    import torch

    from medtransfer.data.transforms import evaluate_view

    mean, std = _numbers(preprocessing["mean"]), _numbers(preprocessing["std"])
    return evaluate_view(torch.from_numpy(packed), preprocessing["crop"], mean=mean, std=std)


def prepare(images: npt.NDArray[np.uint8], preprocessing: Mapping[str, Any]) -> Any:
    """Return the network's input of windowed grey levels, float ``[N, 3, crop, crop]``."""
    return normalised(pack_arrays(images, preprocessing), preprocessing)


def _require_few(count: int) -> None:
    if count > MAX_IMAGES:
        raise DataError(f"{count} images in one call, expected at most {MAX_IMAGES}: send smaller batches")


def _grey_levels(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.dtype.kind not in "iuf":
        raise DataError(f"images have the type {array.dtype}, expected uint8")
    whole = np.empty(array.shape, np.uint8)
    with np.errstate(invalid="ignore"):  # what a cast makes of NaN and of numbers outside differs from them
        for image, source in zip(whole, array, strict=True):  # one by one, so that both stay in the cache
            np.copyto(image, source, casting="unsafe")
            if source.dtype != np.uint8 and (image != source).any():
                raise DataError(_outside(array))
    if whole.max() <= 1:
        raise DataError(f"images hold {_SCALED}")
    return whole


def _outside(array: npt.NDArray[Any]) -> str:
    """Say what keeps numbers from being grey levels."""
    if not np.isfinite(array).all():
        return "images hold NaN or infinity, expected grey levels 0 to 255"
    if array.min() < 0 or array.max() > 255:
        return f"images hold values {array.min()} to {array.max()}, expected grey levels 0 to 255"
    if array.max() <= 1:
        return f"images hold {_SCALED}"
    return "images hold fractions, expected whole grey levels 0 to 255 (not scaled to 0–1)"


def _numbers(value: float | Sequence[float]) -> Sequence[float]:
    return value if isinstance(value, Sequence) else (value,)


def file_facts(image: Decoded) -> Facts:
    """Return what is known of an image file beside its packed form."""
    return facts_of(image.size, colour=image.channels == 3 and colourful(image.array(3)))


def facts_of(size: tuple[int, int], *, colour: bool) -> Facts:
    """Return what is known of an image of a width and height."""
    width, height = size
    return math.log2(min(width, height)), math.log2(width / height), float(colour)


def input_flags(file: File, preprocessing: Mapping[str, Any]) -> list[str]:
    """Say what of one image file is unlike any image that the model was trained on, by rules that need no data.

    They find colour where the model reads grey, images smaller than its view, long strips and blank images. They do
    not find a grey image of another kind, such as an X-ray given to a model of CT.

    Raises:
        DataError: it cannot be read.
    """
    decoded = file if isinstance(file, Decoded) else decode(file, raw=preprocessing.get("window") is not None)
    image = decoded.array(decoded.channels)
    (height, width), flags = image.shape[1:], []
    if preprocessing["channels"] == 1 and colourful(image):
        flags.append("in colour, the model reads grey images")
    if min(height, width) < preprocessing["crop"]:
        flags.append(f"{width}×{height} pixels, fewer than the {preprocessing['crop']} of the model's view")
    if max(height, width) > _LONGEST * min(height, width):
        flags.append(f"{width}×{height} pixels: a strip, which is squeezed to a square")
    if image.min() == image.max():
        flags.append("of one grey level: there is nothing to see")
    return flags


def colourful(image: npt.NDArray[Any]) -> bool:
    """Whether more than one pixel in a hundred has channels that differ by more than compression makes them."""
    spread = image.max(0) - image.min(0)  # never below zero, so that the type of the image is enough
    return bool((spread > _TINT * np.iinfo(image.dtype).max).mean() > 0.01) if image.dtype.kind == "u" else False
