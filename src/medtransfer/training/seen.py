"""What a network sees of images: pooled features, grey levels, size and colour of the files (``evaluation/shift``)."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from medtransfer.data.dicom_header import file_and_frame
from medtransfer.data.given import colourful, normalised
from medtransfer.data.images import FORMATS, grey_levels, image_size, read_image
from medtransfer.data.packed import PackedDataset, Rows
from medtransfer.errors import DataError
from medtransfer.evaluation.shift import ASPECT, COLOUR, GREY, SIDE, Seen, Shift, fit_shift
from medtransfer.models.classifier import Classifier

MOST = {"train": 2000, "val": 1000}
"""Images that are looked at by split, evenly spaced in the manifest; more would change the statistics little."""
_BATCH = 64


def look(
    network: Classifier,
    prepared: Mapping[str, Any],
    packed: npt.NDArray[Any],
    files: Sequence[Path | bytes] = (),
) -> Seen:
    """Return what is known of images.

    Args:
        network: it is left in evaluation mode.
        prepared: preprocessing of the model's config.json.
        packed: images as the training images were packed ``[N, C, size, size]``.
        files: what they were read from; without, or where a file is not at hand, size and colour are not known.

    Raises:
        DataError: a file cannot be read.
    """
    network.eval()
    device, parts = next(network.parameters()).device, []
    with torch.inference_mode():
        for start in range(0, len(packed), _BATCH):
            maps = network.feature_map(normalised(np.array(packed[start : start + _BATCH]), prepared).to(device))
            parts.append(maps.flatten(2).mean(2).double().cpu().numpy())
    levels = grey_levels(packed).reshape(len(packed), -1)
    quantiles = np.percentile(levels, [1, 50, 99], axis=1)
    numbers = dict(zip(GREY, (*quantiles, levels.mean(1), levels.std(1)), strict=True))
    raw = prepared.get("window") is not None
    facts = [_file(file, raw=raw) for file in files] or [(math.nan,) * 3] * len(packed)
    numbers |= dict(zip((SIDE, ASPECT, COLOUR), np.array(facts, np.float64).T, strict=True))
    return Seen(np.concatenate(parts), numbers)


def training_shift(network: Classifier, prepared: Mapping[str, Any], data: PackedDataset, root: Path) -> Shift:
    """Return the statistics of a data set's training split as a network sees it, with limits from validation images.

    Args:
        network: trained on the data set.
        prepared: preprocessing of its config.json.
        data: the data set; its arrays are read.
        root: folder of the raw files; where they are not at hand, size, aspect and colour have no limits.

    Raises:
        DataError: there are too few validation images.
    """
    rows = {split: _spaced(data.rows(split), most) for split, most in MOST.items()}
    seen = {split: look(network, prepared, data.images[at], _files(data, at, root)) for split, at in rows.items()}
    return fit_shift(seen["train"], data.class_index[rows["train"]], seen["val"])


def _files(data: PackedDataset, rows: Rows, root: Path) -> list[Path]:
    files = [root / path for path in data.manifest["path"].iloc[rows]]
    return files if all(file_and_frame(file)[0].is_file() for file in files) else []


def _spaced(rows: Rows, most: int) -> Rows:
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]


def _file(file: Path | bytes, *, raw: bool) -> tuple[float, float, float]:
    """Return logarithms of shorter side and aspect, and 1 for a colour image; pixels of grey files are not decoded."""
    size = _grey_size(file) if isinstance(file, Path) else None
    colour = 0.0
    if size is None:
        image = read_image(file, channels=3, raw=raw)
        size, colour = (image.shape[2], image.shape[1]), float(colourful(image))
    width, height = size
    return math.log2(min(width, height)), math.log2(width / height), colour


def _grey_size(file: Path) -> tuple[int, int] | None:
    """Return the size of a file that holds grey levels, nothing where it has to be decoded to know."""
    from PIL import Image

    try:
        with Image.open(file, formats=FORMATS) as opened:
            grey = opened.mode in ("1", "L") or opened.mode.startswith("I")
        return image_size(file) if grey else None
    except (OSError, DataError, Image.DecompressionBombError):
        return None
