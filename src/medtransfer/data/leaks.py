"""The leak gate: no patient and no image, byte for byte or nearly, is on two sides of a split.

A pair counts when its splits differ within one data set, or, across the data sets of a chain, when one side is
held out (val or test) and the other was trained on.

The default similarity was measured on COVID-CT and ChestX-ray14 (``benchmarks/results/gate_recall.md``).
"""

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from medtransfer.config import Config
from medtransfer.data.looks import Looks
from medtransfer.data.near import Near, Positions, near_duplicates
from medtransfer.errors import LeakError

KINDS = ("patient", "bytes", "pixels", "near")
COLUMNS = ("kind", "image_a", "image_b", "split_a", "split_b", "dataset_a", "dataset_b", "similarity")
NAMED = 5


class GateConfig(Config):
    """When the gate closes.

    Attributes:
        min_similarity: smallest similarity of two registered thumbnails to be a near-duplicate (registration.py).
        allow_known_overlaps: data sets whose official splits are declared to overlap; pairs within one of these do not
            close the gate.
    """

    min_similarity: float = Field(0.945, gt=0, le=1)
    allow_known_overlaps: tuple[str, ...] = ()


def find_leaks(manifest: pd.DataFrame, *, target: str | None = None, near: Near | None = None) -> pd.DataFrame:
    """Return the leaking pairs, each once under its strictest image kind; patients are listed separately.

    An image is paired with one image of each other side that holds the same patient, bytes or pixels, so a thousand
    copies give a thousand rows, not a million. Empty ids and hashes are not compared.

    Args:
        manifest: one or several data sets concatenated, with unique ``image_id``.
        target: the chain's last data set; across data sets only its held-out rows count. None counts those of all.
        near: near-duplicates among the rows, of ``find_near``; none means that they are not looked for.

    Returns:
        Columns ``kind, image_a, image_b, split_a, split_b, dataset_a, dataset_b, similarity`` (1 for equality).

    Example:
        near = find_near(data.manifest, make_looks(data.images), GateConfig())
        pairs = find_leaks(data.manifest, near=near)
    """
    sides = _Sides(manifest, target)
    pairs = {
        kind: sides.counted(*_equal_pairs(manifest, column, one_each=kind == "patient"))
        for kind, column in zip(KINDS, ("patient_id", "sha256", "pixel_sha"), strict=False)
    }
    sha, pixel = manifest["sha256"].fillna("").to_numpy(object), manifest["pixel_sha"].fillna("").to_numpy(object)
    i, j = pairs["pixels"]
    pairs["pixels"] = i[~_same(sha, i, j)], j[~_same(sha, i, j)]
    tables = [_table(manifest, kind, *pair, np.ones(len(pair[0]))) for kind, pair in pairs.items()]
    if near is not None:
        new = sides.counts(near.i, near.j) & ~_same(sha, near.i, near.j) & ~_same(pixel, near.i, near.j)
        tables.append(_table(manifest, "near", near.i[new], near.j[new], near.similarity[new]))
    return pd.concat(tables, ignore_index=True)


def find_near(manifest: pd.DataFrame, looks: Looks, config: GateConfig) -> Near:
    """Return the near-duplicates among rows whose pair counts; of equal images in one split the first is compared.

    Args:
        manifest: as for ``find_leaks``.
        looks: of the same rows in the same order.
        config: the smallest similarity.
    """
    sides = _Sides(manifest, None)
    content = manifest["pixel_sha"].fillna("").to_numpy(object)
    content = np.where(content == "", manifest["image_id"].to_numpy(object), content)
    keys = pd.DataFrame({"content": content, "dataset": sides.dataset, "split": sides.split})
    first = ~keys.duplicated().to_numpy()

    def counts(i: Positions, j: Positions) -> npt.NDArray[np.bool_]:
        different: npt.NDArray[np.bool_] = first[i] & first[j] & sides.counts(i, j)
        return different

    queries = np.flatnonzero(first & (sides.split > 0))
    return near_duplicates(looks, queries, counts, least=config.min_similarity)


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


def _same(values: npt.NDArray[np.object_], i: Positions, j: Positions) -> npt.NDArray[np.bool_]:
    same: npt.NDArray[np.bool_] = (values[i] == values[j]) & (values[i] != "")
    return same


def _table(
    manifest: pd.DataFrame, kind: str, i: Positions, j: Positions, similarity: npt.NDArray[np.floating]
) -> pd.DataFrame:
    columns = {
        f"{short}_{side}": manifest[name].to_numpy(object)[rows]
        for name, short in (("image_id", "image"), ("split", "split"), ("dataset", "dataset"))
        for side, rows in (("a", i), ("b", j))
    }
    table = pd.DataFrame({"kind": [kind] * len(i), **columns})
    table["similarity"] = similarity.astype(np.float64).round(4)
    return table[list(COLUMNS)]


def _groups(pairs: pd.DataFrame) -> int:
    """Count what the pairs show copies of: the first of a group is never second in a pair."""
    return len(set(pairs["image_a"]) - set(pairs["image_b"]))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
