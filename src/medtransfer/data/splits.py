"""Training, validation and test rows: whole patients, every class everywhere, the same whatever the row order."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd
from pydantic import Field, model_validator

from medtransfer.config import Config
from medtransfer.errors import DataError

SPLITS = ("train", "val", "test")


class SplitConfig(Config):
    """Shares of the images and the seed; official splits are kept unless ``official`` is switched off."""

    train: float = Field(0.7, ge=0, le=1)
    val: float = Field(0.1, ge=0, le=1)
    test: float = Field(0.2, ge=0, le=1)
    seed: int = 0
    official: bool = True

    @model_validator(mode="after")
    def _shares_add_up(self) -> "SplitConfig":
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"train + val + test is {self.train + self.val + self.test:g}, expected 1")
        return self


def assign_splits(manifest: pd.DataFrame, config: SplitConfig) -> pd.DataFrame:
    """Return a copy of the manifest with ``split`` filled.

    Patients stay whole and are spread class by class: a patient counts for the rarest class (or positive finding)
    among his images, and goes where most images of that class are missing. Official splits are returned as they
    are, except that a missing ``val`` is cut from ``train`` at val ÷ (train + val), because nothing may be selected
    on test rows.

    Args:
        manifest: one data set; ``patient_id``, ``split``, ``label`` and any ``y_<finding>``.
        config: shares, seed and whether official splits count.

    Raises:
        DataError: only some rows have an official split, or a split lacks a class.
    """
    result = manifest.copy()
    given = result["split"].fillna("") != ""
    if not config.official or not given.any():
        shares = {split: getattr(config, split) for split in SPLITS if getattr(config, split) > 0}
        result["split"] = _distribute(result, shares, config.seed)
    elif not given.all():
        raise DataError(
            f"{_name(result)}: {(~given).sum()} of {len(result)} images have no official split, first "
            f"{result.loc[~given, 'image_id'].iloc[0]}; expected all or none: fill them or set official: false"
        )
    elif config.val > 0 and not (result["split"] == "val").any():
        train = result["split"] == "train"
        whole = config.train + config.val
        shares = {"train": config.train / whole, "val": config.val / whole}
        result.loc[train, "split"] = _distribute(result[train], shares, config.seed)
    _require_classes(result)
    return result


def _distribute(rows: pd.DataFrame, shares: Mapping[str, float], seed: int) -> pd.Series:
    classes = _classes(rows)
    frequency = Counter(name for names in classes for name in names)
    patients: dict[str, list[str]] = {}
    for patient, names in zip(rows["patient_id"], classes, strict=True):
        patients.setdefault(patient, []).extend(names)
    images = rows["patient_id"].value_counts()
    strata: dict[str, list[str]] = {}
    for patient, carried in patients.items():
        stratum = min(set(carried), key=lambda name: (frequency[name], name))
        strata.setdefault(stratum, []).append(patient)
    chosen: dict[str, str] = {}
    for stratum, members in sorted(strata.items()):
        members.sort(key=lambda patient: _draw(seed, stratum, patient))
        chosen |= _fill(members, images.to_dict(), shares)
    return rows["patient_id"].map(chosen)


def _fill(patients: Sequence[str], images: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, str]:
    """Give every split one patient where they suffice, then each next patient to the largest deficit of images."""
    total = sum(images[patient] for patient in patients)
    missing = {split: share * total for split, share in shares.items()}
    first = sorted(shares, key=lambda split: -shares[split]) if len(patients) >= len(shares) else []
    chosen: dict[str, str] = {}
    for position, patient in enumerate(patients):
        split = first[position] if position < len(first) else max(missing, key=lambda name: missing[name])
        chosen[patient] = split
        missing[split] -= images[patient]
    return chosen


def _classes(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the classes of each row: its label, else its positive findings, else one nameless class."""
    findings = [column for column in rows if column.startswith("y_")]
    positive: list[tuple[str, ...]] = [
        tuple(name for name, value in zip(findings, values, strict=True) if value == 1)
        for values in rows[findings].itertuples(index=False)
    ]
    return [
        (label,) if label else names or ("",) for label, names in zip(rows["label"].fillna(""), positive, strict=True)
    ]


def _draw(seed: int, stratum: str, patient: str) -> bytes:
    """Order patients by a hash of their names: neither row order nor other patients change the draw."""
    return hashlib.sha256(f"{seed}|{stratum}|{patient}".encode()).digest()


def _require_classes(rows: pd.DataFrame) -> None:
    """Refuse a split without a class; a finding on fewer patients than splits cannot be everywhere and is let pass."""
    table = pd.DataFrame({"name": _classes(rows), "split": rows["split"], "patient": rows["patient_id"]}).explode(
        "name"
    )
    table = table[table["name"] != ""]
    splits = [split for split in SPLITS if (rows["split"] == split).any()]
    labels = set(rows["label"].dropna())
    for name, group in sorted(table.groupby("name")):
        for split in splits:
            rare = name not in labels and group["patient"].nunique() < len(splits)
            if not rare and not (group["split"] == split).any():
                raise DataError(
                    f"{_name(rows)}: split {split} has no image of class {name.removeprefix('y_')}: "
                    f"{group['patient'].nunique()} patients have it, expected some in each of {', '.join(splits)}; "
                    "change the shares or the seed, or add images"
                )


def _name(rows: pd.DataFrame) -> str:
    return ", ".join(sorted(rows["dataset"].unique()))
