"""The leak gate: no patient and no image, byte for byte or nearly, is on two sides of a split.

A pair counts when its splits differ within one data set, or, across the data sets of a chain, when one side is
held out (val or test) and the other was trained on.

Defaults were measured on 746 COVID-CT slices, 500 ChestX-ray14 images and phantoms: re-encoded, resized, mirrored
and brightness-shifted copies stay within 8 bits and above 0.98 correlation (recall ≥ 0.99), while neighbouring CT
slices mostly correlate below it; 8 bits alone would name 87 pairs of those slices, with the correlation 13.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from medtransfer.config import Config
from medtransfer.data.hashing import THUMBNAIL
from medtransfer.data.images import Pixels, resize
from medtransfer.data.near import Positions, correlation, mirrored_pairs, near_pairs
from medtransfer.errors import LeakError

__all__ = [
    "GateConfig",
    "confirm_by_correlation",
    "find_leaks",
    "mirrored_pairs",
    "near_pairs",
    "require_no_leaks",
    "thumbnails",
]

KINDS = ("patient", "bytes", "pixels", "near")
COLUMNS = ("kind", "image_a", "image_b", "split_a", "split_b", "dataset_a", "dataset_b", "distance")
NAMED = 5
BLOCK = 8192
Confirm = Callable[[Positions, Positions], npt.NDArray[np.bool_]]


class GateConfig(Config):
    """When the gate closes.

    Attributes:
        max_hamming: largest distance of two 64-bit perceptual hashes to be a candidate.
        min_correlation: smallest normalised cross-correlation of two thumbnails to be a near-duplicate.
        allow_known_overlaps: data sets whose official splits are declared to overlap; pairs within one of these do not
            close the gate.
    """

    max_hamming: int = Field(8, ge=0, le=31)
    min_correlation: float = Field(0.98, ge=0, le=1)
    allow_known_overlaps: tuple[str, ...] = ()


def find_leaks(
    manifest: pd.DataFrame, *, max_hamming: int, target: str | None = None, confirm: Confirm | None = None
) -> pd.DataFrame:
    """Return the leaking pairs, each once under its strictest image kind; patients are listed separately.

    An image is paired with one image of each other side that holds the same patient, bytes or pixels, so a thousand
    copies give a thousand rows, not a million. Empty ids and hashes are not compared.

    Args:
        manifest: one or several data sets concatenated, with unique ``image_id``.
        max_hamming: radius of the near search, straight and mirrored.
        target: the chain's last data set; across data sets only its held-out rows count. None counts those of all.
        confirm: takes positions (a, b) of candidates and tells which are near-duplicates; none accepts all.

    Returns:
        Columns ``kind, image_a, image_b, split_a, split_b, dataset_a, dataset_b, distance`` (Hamming, 0 for equality).

    Example:
        confirm = confirm_by_correlation(thumbnails(data.images), min_correlation=0.98)
        pairs = find_leaks(data.manifest, max_hamming=8, confirm=confirm)
    """
    sides = _Sides(manifest, target)
    pairs = {
        kind: sides.counted(*_equal_pairs(manifest, column, one_each=kind == "patient"))
        for kind, column in zip(KINDS, ("patient_id", "sha256", "pixel_sha"), strict=False)
    }
    sha, pixel = manifest["sha256"].fillna("").to_numpy(object), manifest["pixel_sha"].fillna("").to_numpy(object)
    i, j = pairs["pixels"]
    pairs["pixels"] = i[~_same(sha, i, j)], j[~_same(sha, i, j)]
    i, j, distance = _near(manifest, max_hamming, sides)
    exact = _same(sha, i, j) | _same(pixel, i, j)
    i, j, distance = i[~exact], j[~exact], distance[~exact]
    if confirm is not None and len(i):
        kept = confirm(i, j)
        i, j, distance = i[kept], j[kept], distance[kept]
    pairs["near"] = i, j
    tables = [_table(manifest, kind, *pair, distance if kind == "near" else None) for kind, pair in pairs.items()]
    return pd.concat(tables, ignore_index=True)


def require_no_leaks(leaks: pd.DataFrame, config: GateConfig) -> None:
    """Close the gate unless every leak is inside a data set with declared overlaps.

    Raises:
        LeakError: says how many patients and images are in two splits and names the first pairs.
    """
    declared = (leaks["dataset_a"] == leaks["dataset_b"]) & leaks["dataset_a"].isin(config.allow_known_overlaps)
    open_leaks = leaks[~declared]
    if open_leaks.empty:
        return
    patient = open_leaks["kind"] == "patient"
    patients, images = _groups(open_leaks[patient]), _groups(open_leaks[~patient])
    pairs = [
        f"{kind} {image_a} ({split_a}) = {image_b} ({split_b})"
        for kind, image_a, image_b, split_a, split_b in open_leaks.iloc[:NAMED, :5].itertuples(index=False)
    ]
    more = f" and {len(open_leaks) - len(pairs)} more" if len(open_leaks) > len(pairs) else ""
    raise LeakError(
        f"{_count(patients, 'patient')} and {_count(images, 'image')} in two splits: {'; '.join(pairs)}{more}; "
        "split by patient, take the copies out, or declare official overlaps in allow_known_overlaps"
    )


def thumbnails(images: Pixels) -> npt.NDArray[np.uint8]:
    """Return grey thumbnails uint8 ``[N, 32, 32]`` of packed images ``[N, C, H, W]``."""
    small = np.empty((len(images), THUMBNAIL, THUMBNAIL), np.uint8)
    for row, image in enumerate(images):
        grey = resize(image, THUMBNAIL).mean(0)
        small[row] = np.rint(grey / (257 if image.dtype == np.uint16 else 1))
    return small


def confirm_by_correlation(images: Pixels, min_correlation: float) -> Confirm:
    """Return the hook that accepts pairs whose thumbnails ``[N, h, w]`` correlate, straight or mirrored.

    ``images`` are in the order of the manifest's rows; those of several data sets are concatenated like the tables.
    """

    def confirm(a: Positions, b: Positions) -> npt.NDArray[np.bool_]:
        blocks = [slice(start, start + BLOCK) for start in range(0, len(a), BLOCK)]
        return np.concatenate([correlation(images[a[k]], images[b[k]]) >= min_correlation for k in blocks])

    return confirm


class _Sides:
    """Which pairs of rows count: the data set, the split and the role of every row."""

    def __init__(self, manifest: pd.DataFrame, target: str | None) -> None:
        self.dataset = pd.factorize(manifest["dataset"])[0]
        codes = {"train": 0, "val": 1, "test": 2}
        self.split = np.array([codes.get(split, -1) for split in manifest["split"]], np.int64)
        aim = (manifest["dataset"] == target).to_numpy() if target else np.ones(len(manifest), bool)
        self.held_out = (self.split > 0) & aim

    def counted(self, i: Positions, j: Positions) -> tuple[Positions, Positions]:
        keep = self.counts(i, j)
        return i[keep], j[keep]

    def counts(self, i: Positions, j: Positions) -> npt.NDArray[np.bool_]:
        inside = (self.dataset[i] == self.dataset[j]) & (self.split[i] != self.split[j])
        trained = self.split == 0
        across = (self.dataset[i] != self.dataset[j]) & (
            (self.held_out[i] & trained[j]) | (trained[i] & self.held_out[j])
        )
        counts: npt.NDArray[np.bool_] = (inside & (self.split[i] >= 0) & (self.split[j] >= 0)) | across
        return counts


def _equal_pairs(manifest: pd.DataFrame, column: str, *, one_each: bool) -> tuple[Positions, Positions]:
    """Return pairs i < j of equal values: each row (or one row per side) with the first row of every side."""
    sided = pd.DataFrame(
        {
            "value": manifest[column].fillna("").to_numpy(object),
            "dataset": manifest["dataset"].to_numpy(object),
            "split": manifest["split"].to_numpy(object),
            "row": np.arange(len(manifest)),
        }
    )
    sided = sided[(sided["value"] != "") & sided["value"].duplicated(keep=False)]
    first = sided.drop_duplicates(["value", "dataset", "split"])
    pairs = (first if one_each else sided)[["value", "row"]].merge(first[["value", "row"]], on="value")
    i, j = (pairs[["row_x", "row_y"]].min(axis=1), pairs[["row_x", "row_y"]].max(axis=1))
    unique = pd.DataFrame({"i": i, "j": j}).query("i < j").drop_duplicates().sort_values(["i", "j"])
    return unique["i"].to_numpy(np.int64), unique["j"].to_numpy(np.int64)


def _near(manifest: pd.DataFrame, max_hamming: int, sides: _Sides) -> tuple[Positions, Positions, Positions]:
    digits = manifest["phash"].fillna("").to_numpy(object)
    known = np.flatnonzero(digits != "")
    hashes = np.array([int(text, 16) for text in digits[known]], np.uint64)
    both = [near_pairs(hashes, max_hamming), mirrored_pairs(hashes, max_hamming)]
    i, j, distance = (np.concatenate(parts) for parts in zip(*both, strict=True))
    i, j = known[i], known[j]
    keep = sides.counts(i, j)
    table = pd.DataFrame({"i": i[keep], "j": j[keep], "distance": distance[keep]})
    table = table.groupby(["i", "j"], as_index=False)["distance"].min()
    i, j, distance = (table[name].to_numpy(np.int64) for name in ("i", "j", "distance"))
    return i, j, distance


def _same(values: npt.NDArray[np.object_], i: Positions, j: Positions) -> npt.NDArray[np.bool_]:
    same: npt.NDArray[np.bool_] = (values[i] == values[j]) & (values[i] != "")
    return same


def _table(manifest: pd.DataFrame, kind: str, i: Positions, j: Positions, distance: Positions | None) -> pd.DataFrame:
    columns = {
        f"{short}_{side}": manifest[name].to_numpy(object)[rows]
        for name, short in (("image_id", "image"), ("split", "split"), ("dataset", "dataset"))
        for side, rows in (("a", i), ("b", j))
    }
    table = pd.DataFrame({"kind": [kind] * len(i), **columns})
    table["distance"] = np.zeros(len(i), np.int64) if distance is None else distance
    return table[list(COLUMNS)]


def _groups(pairs: pd.DataFrame) -> int:
    """Count what the pairs show copies of: the first of a group is never second in a pair."""
    return len(set(pairs["image_a"]) - set(pairs["image_b"]))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
