"""Training regimes: fewer cases, another balance. Pure functions of manifest rows; only ``split`` changes.

A row that a regime leaves out keeps its place and has no split, so that positions still fit the packed images and
nothing can be drawn twice. Draws are ordered by hashes of patient and image: neither row order nor other rows matter.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from medtransfer.config import Config
from medtransfer.data.packed import PackedDataset
from medtransfer.data.splits import positive_findings, rarest
from medtransfer.errors import DataError

Ratio = Annotated[float, Field(gt=0)]
Split = Literal["train", "val", "test"]


class RegimeConfig(Config):
    """Which cases a fit sees; the default is all of them.

    Attributes:
        share: share of each class's training images, rounded down; validation and test stay whole.
        neg_pos_ratio: negatives per positive, by split. In ``train`` and ``val`` positives are thinned until there are
            at least that many. In ``test`` every image stays and metrics weight the classes to this ratio
            (``evaluation.intervals.at_balance``): thinning would leave few positives and wide intervals.
    """

    share: float = Field(1.0, gt=0, le=1)
    neg_pos_ratio: dict[Split, Ratio] = Field(default_factory=dict)


def apply_regime(
    manifest: pd.DataFrame,
    regime: RegimeConfig,
    *,
    positive: str = "",
    findings: Sequence[str] = (),
    seed: int = 0,
) -> pd.DataFrame:
    """Return the manifest under a regime: positives are thinned first, the share is taken of what is left.

    Args:
        manifest: one data set with splits.
        regime: the regime.
        positive: class that ``neg_pos_ratio`` thins.
        findings: of a multi-label task; none for a single-label one.
        seed: of the share's draw; the images of 5 % are among those of 10 % of the same seed.

    Raises:
        DataError: a class has fewer cases than the regime needs, or there is no positive class to thin.
    """
    result = manifest
    for split, ratio in regime.neg_pos_ratio.items():
        if split != "test":
            result = thin_positives(result, split, ratio, positive=positive)
    return result if regime.share == 1 else take_share(result, regime.share, findings=findings, seed=seed)


def under_regime(
    data: PackedDataset, regime: RegimeConfig, *, positive: str = "", findings: Sequence[str] = (), seed: int = 0
) -> PackedDataset:
    """Return a packed data set with only the cases of a regime in its splits; arguments as in :func:`apply_regime`."""
    manifest = apply_regime(data.manifest, regime, positive=positive, findings=findings, seed=seed)
    return PackedDataset(data.folder, manifest, data.meta)


def take_share(manifest: pd.DataFrame, share: float, *, findings: Sequence[str] = (), seed: int = 0) -> pd.DataFrame:
    """Keep ⌊share × images⌋ training images of every class (Peng et al. 2021: 88 of 1,777 and 1,451 of 29,030 at 5 %).

    Patients are drawn in random order and give their images one patient after the other, as in a hospital with few
    cases; only the last one is cut, so the counts are exact. A multi-label image counts for the rarest finding that
    it has.

    Raises:
        DataError: a class, or a finding, has no image left.
    """
    train = manifest[manifest["split"] == "train"]
    columns = [f"y_{name}" for name in findings]
    classes = positive_findings(train, columns) if findings else [(label,) for label in train["label"]]
    known = train[columns].notna().any(axis=1) if findings else train["label"] != ""
    stratum = pd.Series(rarest(classes), index=train.index)[known.to_numpy()]
    kept: list[int] = []
    for name, members in stratum.groupby(stratum):
        # a product such as 0.29 × 100 is a rounding error below the intended whole number
        count = math.floor(share * len(members) + 1e-9)
        if count == 0:
            raise DataError(
                f"{_name(manifest)}: class {_plain(str(name))} has {len(members)} training images, and "
                f"{share:.0%} of them is none, expected at least {math.ceil(1 / share)}; take a larger share"
            )
        kept += _ordered(train.loc[members.index], seed)[:count]
    result = _without(manifest, train.index.difference(kept))
    for column in columns:
        if (train[column] == 1).any() and not (result.loc[kept, column] == 1).any():
            raise DataError(
                f"{_name(manifest)}: no image with {_plain(column)} is among {share:.0%} of the training images; "
                "take a larger share or leave the finding out of the task"
            )
    return result


def thin_positives(manifest: pd.DataFrame, split: Split, ratio: float, *, positive: str) -> pd.DataFrame:
    """Leave positives out until a split has at least ``ratio`` negatives to each, for example 16 as in Peng et al.

    A split that has them already stays as it is. There is one draw, the same for all seeds; smaller ratios keep what
    larger ones keep.

    Raises:
        DataError: no positive class is given or none occurs, or the split has fewer negatives than one positive needs.
    """
    rows = manifest[manifest["split"] == split]
    hit, other = rows[rows["label"] == positive], rows[~rows["label"].isin(["", positive])]
    if not positive or hit.empty:
        raise DataError(
            f"{_name(manifest)}: the {split} split has no image of class {positive or 'not named'} to thin; "
            "name the positive class of a single-label task"
        )
    count = math.floor(len(other) / ratio + 1e-9)
    if count == 0:
        raise DataError(
            f"{_name(manifest)}: the {split} split has {len(other)} negatives, expected at least "
            f"{math.ceil(ratio)} for 1:{ratio:g}; lower the ratio"
        )
    return _without(manifest, hit.index.difference(_ordered(hit, 0)[:count]))


def _ordered(rows: pd.DataFrame, seed: int) -> list[int]:
    """Return the rows' index, patients in the order of a hash, then their images in the order of another."""
    keys = [
        (_draw(seed, patient), patient, _draw(seed, image), index)
        for index, patient, image in zip(rows.index, rows["patient_id"], rows["image_id"], strict=True)
    ]
    return [key[-1] for key in sorted(keys)]


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"regime|{seed}|{name}".encode()).digest()


def _without(manifest: pd.DataFrame, index: pd.Index) -> pd.DataFrame:
    result = manifest.copy()
    result["split"] = np.where(result.index.isin(index), "", result["split"])
    return result


def _plain(name: str) -> str:
    return name.removeprefix("y_") or "without a finding"


def _name(rows: pd.DataFrame) -> str:
    return ", ".join(sorted(rows["dataset"].unique()))
