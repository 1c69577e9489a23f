"""Training, validation and test rows: whole patients, every class everywhere, the same whatever the row order."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date

import pandas as pd
from pydantic import Field, model_validator

from medtransfer.config import Config
from medtransfer.errors import DataError

SPLITS = ("train", "val", "test")


class SplitConfig(Config):
    """Shares of the images and the seed; official splits are kept unless ``official`` is switched off.

    With ``until`` the split is chronological (Peng et al. 2021: up to 2020-06-30 against after): images up to this day
    are training and validation, in the proportion of their shares, later ones are test.
    """

    train: float = Field(0.7, ge=0, le=1)
    val: float = Field(0.1, ge=0, le=1)
    test: float = Field(0.2, ge=0, le=1)
    seed: int = 0
    official: bool = True
    until: date | None = None

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
    on test rows. A chronological split leaves later images of a patient who is known by then without a split.

    Args:
        manifest: one data set; ``patient_id``, ``split``, ``label``, ``date`` and any ``y_<finding>``.
        config: shares, seed, whether official splits count, and the day of a chronological split.

    Raises:
        DataError: only some rows have an official split, a date is missing, or a split lacks a class.
    """
    result = manifest.copy()
    if config.until is not None:
        result["split"] = _by_date(result, config, config.until)
        _require_classes(result)
        return result
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
        result.loc[train, "split"] = _train_and_val(result[train], config)
    _require_classes(result)
    return result


def positive_findings(rows: pd.DataFrame, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the columns ``y_<finding>`` that are 1 in each row, one nameless class where none is."""
    return [
        tuple(name for name, value in zip(columns, values, strict=True) if value == 1) or ("",)
        for values in rows[list(columns)].itertuples(index=False)
    ]


def rarest(classes: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the class of each row that the fewest rows have."""
    frequency = Counter(name for names in classes for name in names)
    return [min(names, key=lambda name: (frequency[name], name)) for names in classes]


def _by_date(rows: pd.DataFrame, config: SplitConfig, until: date) -> pd.Series:
    """Split by the day of each image; what is after ``until`` of a patient who was seen before is left out."""
    undated = rows["date"].isna()
    if undated.any():
        raise DataError(
            f"{_name(rows)}: {int(undated.sum())} of {len(rows)} images have no date, first "
            f"{rows.loc[undated, 'image_id'].iloc[0]}; a chronological split (until) needs one for each"
        )
    # the day itself belongs to the past, whatever the hour
    before = rows["date"].dt.normalize() <= pd.Timestamp(until)
    if before.all() or not before.any():
        raise DataError(
            f"{_name(rows)}: dates run from {rows['date'].min():%Y-%m-%d} to {rows['date'].max():%Y-%m-%d}, expected "
            f"some up to {until} and some after; change until"
        )
    split = pd.Series("test", index=rows.index).mask(rows["patient_id"].isin(rows.loc[before, "patient_id"]), "")
    split[before] = _train_and_val(rows[before], config)
    return split


def _train_and_val(rows: pd.DataFrame, config: SplitConfig) -> pd.Series:
    whole = config.train + config.val
    shares = {name: share / whole for name, share in (("train", config.train), ("val", config.val)) if share > 0}
    return _distribute(rows, shares, config.seed)


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
    positive = positive_findings(rows, findings) if findings else [("",)] * len(rows)
    return [(label,) if label else names for label, names in zip(rows["label"].fillna(""), positive, strict=True)]


def _draw(seed: int, stratum: str, patient: str) -> bytes:
    """Order patients by a hash of their names: neither row order nor other patients change the draw."""
    return hashlib.sha256(f"{seed}|{stratum}|{patient}".encode()).digest()


def _require_classes(rows: pd.DataFrame) -> None:
    """Refuse a split without a class; a finding on fewer patients than splits may be absent from some."""
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
