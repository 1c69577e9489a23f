"""What a network sees of images: pooled features, grey levels, size and colour of the files (``evaluation/shift``)."""

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from medtransfer.data.dicom_header import file_and_frame
from medtransfer.data.given import Facts, facts_of, file_facts, normalised
from medtransfer.data.images import FORMATS, decode, grey_levels, image_size
from medtransfer.data.packed import PackedDataset, Rows
from medtransfer.errors import DataError
from medtransfer.evaluation.shift import ASPECT, COLOUR, GREY, SIDE, Seen, Shift, fit_shift
from medtransfer.models.backbones import block_names, survey
from medtransfer.models.classifier import Classifier

MOST = {"train": 2000, "val": 1000}
"""Images that are looked at by split, evenly spaced in the manifest; more would change the statistics little."""
_BATCH = 64


def middle_block(network: Classifier) -> str:
    """Return the block whose map tells other kinds of images best: the last that is at least twice as fine as the last.

    The last map is fitted to the task and blind to what the task does not need: of X-rays given to a network of real CT
    slices it flagged 3 in 100, this one all (``docs/decisions.md``). Where all maps are as fine as the last, it is the
    block half way; empty, for the last map, where no block gives a map (a transformer).
    """
    found = survey(network.trunk) if block_names(network.trunk) else {}
    finer = [name for name, site in found.items() if 2 * site.stride <= next(reversed(found.values())).stride]
    return finer[-1] if finer else next(iter(list(found)[len(found) // 2 :]), "")


class Watched(nn.Module):
    """A network that keeps the features of all images that pass through it, so that answers and features are one pass.

    Args:
        network: the network.
        block: of its trunk, whose map gives the features; empty: the last map.

    Attributes:
        features: per batch, averages of the map over its positions, float64 ``[B, D]``.
    """

    def __init__(self, network: Classifier, block: str = "") -> None:
        super().__init__()
        self.network, self.block = network, block
        self.features: list[npt.NDArray[np.float64]] = []

    @property
    def reads_lungs(self) -> bool:
        """Whether ``forward`` takes a lung mask beside the image."""
        return self.network.reads_lungs

    def forward(self, x: Tensor, lungs: Tensor | None = None) -> Tensor | Mapping[str, Tensor]:
        """Return what the network returns."""
        return self.network.classify(self._maps(x), lungs)

    def see(self, x: Tensor) -> None:
        """Keep the features alone."""
        self._maps(x)

    def _maps(self, x: Tensor) -> Tensor:
        if not self.block:
            maps = self.network.feature_map(x)
            self.features.append(_pooled(maps))
            return maps
        layer = self.network.trunk.get_submodule(self.block)
        handle = layer.register_forward_hook(lambda _module, _inputs, output: self.features.append(_pooled(output)))
        try:
            return self.network.feature_map(x)
        finally:
            handle.remove()


def look(
    network: Classifier,
    prepared: Mapping[str, Any],
    packed: npt.NDArray[Any],
    files: Sequence[Path | bytes] = (),
    *,
    features: Sequence[npt.NDArray[np.float64]] = (),
    facts: Sequence[Facts] = (),
    block: str = "",
) -> Seen:
    """Return what is known of images; only a batch of them is in memory at a time.

    Args:
        network: it is left in evaluation mode.
        prepared: preprocessing of the model's config.json.
        packed: images as the training images were packed ``[N, C, size, size]``.
        files: what they were read from; without, or where a file is not at hand, size and colour are not known.
        features: those of the same images in their order, out of :class:`Watched`; without, they pass the network here.
        facts: what ``file_facts`` says of the files, in place of ``files``.
        block: as :class:`Watched` takes it.

    Raises:
        DataError: a file cannot be read.
    """
    batches = [packed[start : start + _BATCH] for start in range(0, len(packed), _BATCH)]
    levels = np.concatenate([_levels(batch) for batch in batches], axis=1)
    numbers = dict(zip(GREY, levels, strict=True))
    if files:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # decoding releases the lock
            facts = list(pool.map(partial(_file, raw=prepared.get("window") is not None), files))
    known = facts or [(math.nan,) * 3] * len(packed)
    numbers |= dict(zip((SIDE, ASPECT, COLOUR), np.array(known, np.float64).T, strict=True))
    return Seen(np.concatenate(features or _features(Watched(network, block), prepared, batches)), numbers)


def _features(
    watched: Watched, prepared: Mapping[str, Any], batches: Sequence[npt.NDArray[Any]]
) -> list[npt.NDArray[np.float64]]:
    watched.network.eval()
    device = next(watched.network.parameters()).device
    with torch.inference_mode():
        for batch in batches:
            watched.see(normalised(np.array(batch), prepared).to(device))
    return watched.features


def _pooled(maps: Tensor) -> npt.NDArray[np.float64]:
    """Return averages over the positions of maps ``[N, D, rows, columns]`` as float64 ``[N, D]``."""
    features: npt.NDArray[np.float64] = maps.flatten(2).mean(2).double().cpu().numpy()
    return features


def _levels(packed: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the numbers ``GREY`` of images ``[N, C, size, size]`` as ``[5, N]``."""
    levels = grey_levels(packed).reshape(len(packed), -1)
    quantiles = np.percentile(levels, [1, 50, 99], axis=1)
    return np.stack([*quantiles, levels.mean(1), levels.std(1)])


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
    block = middle_block(network)
    seen = {
        split: look(network, prepared, data.images[at], _files(data, at, root), block=block)
        for split, at in rows.items()
    }
    return fit_shift(seen["train"], data.class_index[rows["train"]], seen["val"], block=block)


def _files(data: PackedDataset, rows: Rows, root: Path) -> list[Path]:
    files = [root / path for path in data.manifest["path"].iloc[rows]]
    return files if all(file_and_frame(file)[0].is_file() for file in files) else []


def _spaced(rows: Rows, most: int) -> Rows:
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]


def _file(file: Path | bytes, *, raw: bool) -> Facts:
    """Return the facts of a file; pixels of grey files are not decoded."""
    size = _grey_size(file) if isinstance(file, Path) else None
    return facts_of(size, colour=False) if size else file_facts(decode(file, raw=raw))


def _grey_size(file: Path) -> tuple[int, int] | None:
    """Return the size of a file that holds grey levels, nothing where it has to be decoded to know."""
    from PIL import Image

    try:
        with Image.open(file, formats=FORMATS) as opened:
            grey = opened.mode in ("1", "L") or opened.mode.startswith("I")
        return image_size(file) if grey else None
    except (OSError, DataError, Image.DecompressionBombError):
        return None
