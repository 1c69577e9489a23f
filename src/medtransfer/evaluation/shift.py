"""Whether an image is like those a network was trained on: grey levels, size, aspect, distance of its features.

A number of an image is *unlike* when it lies outside the range of the training and validation images, widened by a
tenth. Features are unlike when their Mahalanobis distance to the nearest class mean (Lee et al. 2018, section 2.1) is
beyond the 99th percentile of the distances of validation images; the covariance within classes is shrunk (Ledoit & Wolf
2004). Training images give no threshold: the network was fitted to them, so they are closer than any new image.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medtransfer.errors import CheckpointError, DataError
from medtransfer.files import write_bytes

Numbers = npt.NDArray[np.float64]
NOT_AVAILABLE = "not available"
FEWEST = 39
"""Validation images. With n of them up to 101, at most 2 of n + 1 new images like them are expected beyond the limit
(2 of 40 are 5 %), with more about 1 %, where images are independent; several images of a patient are not."""
SHARE = 0.99
WIDER = 0.1
_FORMAT, _OLDER = "medtransfer-shift-2", "medtransfer-shift-1"
"""Statistics in the older format are of the last map."""


LEAST = {
    "darkest grey level (1st percentile)": 5.0,
    "median grey level": 5.0,
    "brightest grey level (99th percentile)": 5.0,
    "mean grey level": 5.0,
    "standard deviation of grey levels": 5.0,
    "shorter side in pixels": 0.5,
    "width : height": 0.25,
    "share of colour images": 0.0,
}
"""Number of an image → the least that its range is widened by.

Grey levels are 0–255, as the network reads them. Side and aspect are those of the file, as base-2 logarithms: twice as
large is as far as half as large. The last is 1 for a colour image.
"""
GREY, (SIDE, ASPECT, COLOUR) = tuple(LEAST)[:5], tuple(LEAST)[5:]


@dataclass(frozen=True)
class Seen:
    """What is known of images: ``features`` ``[N, D]`` and ``numbers`` ``[N]`` by column, NaN = not known."""

    features: Numbers
    numbers: Mapping[str, Numbers]


@dataclass(frozen=True)
class Shift:
    """What a network was trained on.

    Attributes:
        ranges: lowest and highest number that is not unlike, by column; a column that was not known is absent.
        means: of the standardised features by class ``[K, D]``.
        scale: standard deviation of each feature within classes ``[D]``.
        precision: inverse of the shrunk covariance of standardised features ``[D, D]``.
        farthest: distance beyond which features are unlike.
        images: number of training and validation images.
        block: of the trunk, whose map the features are averages of; empty: the last map.
    """

    ranges: Mapping[str, tuple[float, float]]
    means: Numbers
    scale: Numbers
    precision: Numbers
    farthest: float
    images: tuple[int, int]
    block: str = ""

    def distances(self, features: Numbers) -> Numbers:
        """Return the Mahalanobis distance to the nearest class mean ``[N]``."""
        best = np.full(len(features), np.inf)
        for mean in self.means:
            off = features / self.scale - mean
            best = np.minimum(best, np.einsum("nd,nd->n", off @ self.precision, off))
        distance: Numbers = np.sqrt(best)
        return distance

    def unlike(self, seen: Seen) -> list[list[str]]:
        """Return what of each image is unlike the training images, one phrase per reason; empty = nothing."""
        reasons: list[list[str]] = [[] for _ in seen.features]
        for name, (low, high) in self.ranges.items():
            for row, value in enumerate(seen.numbers.get(name, ())):
                if value < low or value > high:  # NaN is neither
                    reasons[row].append(_phrase(name, float(value), low, high))
        for row, distance in enumerate(self.distances(seen.features)):
            if distance > self.farthest:
                times = distance / self.farthest
                reasons[row].append(f"features {times:.1f} times as far from the training images as the limit")
        return reasons


def fit_shift(train: Seen, labels: npt.NDArray[np.int64], validation: Seen, *, block: str = "") -> Shift:
    """Return the statistics of training images, with limits from validation images.

    Args:
        train: training images.
        labels: class of each, −1 where there is none; with one or no class there is one mean.
        validation: images that the network was not fitted to.
        block: where the features are from.

    Raises:
        DataError: too few validation images for a limit that at most 1 of 20 new images like them exceeds.
    """
    from sklearn.covariance import LedoitWolf

    count = len(validation.features)
    if count < FEWEST:
        raise DataError(f"{count} validation images, expected at least {FEWEST} for a limit of distances")
    classes = [train.features[labels == label] for label in np.unique(labels)]
    centred = np.concatenate([rows - rows.mean(0) for rows in classes])
    spread = centred.std(0)
    scale = np.where(spread > 0, spread, 1.0)
    means = np.stack([rows.mean(0) / scale for rows in classes])
    inverse = LedoitWolf(assume_centered=True).fit(centred / scale).precision_
    precision = inverse.astype(np.float32).astype(np.float64)  # as it is stored, so that the limit belongs to it
    shift = Shift(_ranges(train, validation), means, scale, precision, math.inf, (len(train.features), count), block)
    farthest = float(np.quantile(shift.distances(validation.features), SHARE))
    return replace(shift, farthest=farthest)


def write_shift(shift: Shift, file: Path) -> None:
    """Write the statistics as safetensors; equal statistics give equal bytes."""
    from safetensors.numpy import save

    about = {"format": _FORMAT, "ranges": shift.ranges, "farthest": shift.farthest}
    about |= {"images": shift.images, "block": shift.block}
    arrays = {"means": shift.means, "scale": shift.scale, "precision": shift.precision.astype(np.float32)}
    content = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_bytes(file, save(content, {"about": json.dumps(about)}))  # one key: several have no fixed order


def read_shift(file: Path) -> Shift | None:
    """Return what ``write_shift`` wrote; nothing where there is no such file.

    Raises:
        CheckpointError: it is damaged, or of another format.
    """
    from safetensors import SafetensorError, safe_open

    if not file.exists():
        return None
    try:
        with safe_open(file, "np") as opened:
            known, arrays = opened.metadata() or {}, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        about = json.loads(known["about"])
        if about.get("format") not in (_FORMAT, _OLDER):
            raise ValueError(f"format {about.get('format')}")
        ranges = {name: (float(low), float(high)) for name, (low, high) in about["ranges"].items()}
        first, second = about["images"]
        return Shift(
            ranges,
            arrays["means"],
            arrays["scale"],
            arrays["precision"].astype(np.float64),
            about["farthest"],
            (first, second),
            about["block"] if about["format"] == _FORMAT else "",
        )
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{file}: damaged ({error}), expected {_FORMAT}; register the model again") from error


def _ranges(train: Seen, validation: Seen) -> dict[str, tuple[float, float]]:
    """Return the range of each column that is known of all images."""
    ranges = {}
    for name, least in LEAST.items():
        values = np.concatenate([train.numbers[name], validation.numbers[name]])
        if not np.isnan(values).any():
            low, high = float(values.min()), float(values.max())
            wider = max(least, WIDER * (high - low))
            ranges[name] = (low - wider, high + wider)
    return ranges


def _phrase(name: str, value: float, low: float, high: float) -> str:
    if name == COLOUR:
        return "in colour" if value > high else "grey, the training images are in colour"
    if name in (SIDE, ASPECT):
        value, low, high = 2**value, 2**low, 2**high
    digits = 2 if name == ASPECT else 0
    return f"{name} {value:.{digits}f}, expected {max(low, 0):.{digits}f} to {high:.{digits}f}"
