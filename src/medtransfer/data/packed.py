"""A packed data set: the manifest, one memory-mapped array of images, masks when there are any, and dataset.json.

Files of ``out/datasets/<name>/``:

| file | content |
|---|---|
| ``manifest.parquet`` | the manifest; row ``i`` has ``row = i`` |
| ``images.npy`` | ``[N, C, H, W]`` uint8 or uint16; grey data have C = 1 |
| ``masks.npy`` | ``[M, H, W]`` uint8, at ``mask_row``; absent when no image has a mask |
| ``dataset.json`` | ``DatasetMeta`` |

Mask values are listed in ``data/arrays.py``.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import ValidationError

from medtransfer.config import Config
from medtransfer.data.arrays import PackConfig, Prepared, mask_files, write_images, write_masks
from medtransfer.data.images import Pixels
from medtransfer.data.manifest import BEFORE_PACKING, ZONES, classes_of, finding_columns, read_manifest, write_manifest
from medtransfer.errors import DataError
from medtransfer.files import new_folder, read_sealed, sha256_file, write_sealed

__all__ = ["DatasetMeta", "PackConfig", "PackedDataset", "Patients", "Prepared", "Rows", "pack"]

Rows = npt.NDArray[np.int64]
META = "dataset.json"
FORMAT: Literal["medtransfer-dataset-3"] = "medtransfer-dataset-3"
Patients = Literal["known", "each_image"]
"""``each_image``: an image at least has no patient id and counts as a patient of its own."""
PARTS = ("manifest.parquet", "images.npy", "masks.npy", META)
"""All that a packed data set consists of."""


class DatasetMeta(Config):
    """What dataset.json says; ``mean`` and ``std`` are per channel on 0–1, over the rows named by ``statistics_of``."""

    format: Literal["medtransfer-dataset-3"] = FORMAT
    name: str
    classes: tuple[str, ...]
    pack: PackConfig
    images: int
    masks: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    statistics_of: Literal["train", "all"]
    licence: str = ""
    citation: str = ""
    known_overlaps: str = ""
    patients: Patients = "each_image"
    official_splits: bool = False
    files: dict[str, str]
    content_hash: str

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return self.pack.size


def pack(
    manifest: pd.DataFrame,
    root: Path,
    out: Path,
    config: PackConfig,
    *,
    meta: Mapping[str, Any],
    prepared: Prepared | None = None,
) -> None:
    """Decode every image once and write a packed data set, whole or not at all.

    Windowing and equalising see the files' own depth; resizing follows; quantising comes last. Mean and standard
    deviation are those of the training rows, or of all rows when there is no training row (an outside test set).

    Args:
        manifest: rows with ``path`` and, for masks, ``mask`` relative to ``root``.
        root: folder of the raw files.
        out: folder to make; an older data set is replaced when the new one is whole, any other folder is refused.
        config: size, channels, depth, equalising, window.
        meta: ``licence``, ``citation``, ``known_overlaps``, ``official_splits``, ``patients`` (not known when absent),
            and ``classes`` in the order of the network's outputs (sorted labels when absent).
        prepared: all of the images, where something else has decoded them; then only masks are decoded here.

    Raises:
        DataError: a file cannot be read, a mask holds another value, a label is not in ``classes``, or ``out`` holds
            something else than a packed data set.
    """
    classes = tuple(meta.get("classes") or classes_of(manifest))
    table = _number_rows(manifest, classes)
    with new_folder(out, made=PARTS, mark=META) as staged:
        sums = write_images(table, root, staged / "images.npy", config, prepared=prepared)
        masks = write_masks([root / m for m in mask_files(manifest) if m], staged / "masks.npy", config.size)
        write_manifest(table, staged / "manifest.parquet")
        files = {file.name: sha256_file(file) for file in sorted(staged.iterdir())}
        about = {key: value for key, value in meta.items() if key != "classes"}
        known = DatasetMeta(
            name=", ".join(sorted(table["dataset"].unique())),
            classes=classes,
            pack=config,
            images=len(table),
            masks=masks,
            **_statistics(table, sums, config),
            **about,
            files=files,
            content_hash=hashlib.sha256(json.dumps(files).encode()).hexdigest(),
        )
        write_sealed(staged / META, known.model_dump(mode="json"))


class PackedDataset:
    """A packed data set on disk; images and masks are memory-mapped and read-only.

    Example:
        data = PackedDataset.open(Path("out/datasets/ct"))
        images = data.images[data.rows("test")]
    """

    def __init__(self, folder: Path, manifest: pd.DataFrame, meta: DatasetMeta) -> None:
        self.folder = folder
        self.manifest = manifest
        self.meta = meta

    @classmethod
    def open(cls, folder: Path, *, arrays: bool = True) -> "PackedDataset":
        """Open a packed data set and check that its parts are what packing wrote.

        Args:
            folder: the data set.
            arrays: also compare the images and masks with their hashes, once per process: every byte is read.

        Raises:
            DataError: a part is absent, damaged, of another size than dataset.json says, or of an older format.
        """
        try:
            _require_format(folder, json.loads((folder / META).read_text(encoding="utf-8")))
            meta = DatasetMeta.model_validate(read_sealed(folder / META))
        except FileNotFoundError as error:
            raise DataError(f"{folder}: no packed data set (dataset.json is absent); prepare it first") from error
        except (ValueError, ValidationError) as error:
            raise DataError(f"{folder}/dataset.json: damaged, expected what packing wrote; prepare it again") from error
        _verify(folder, "manifest.parquet", meta.files)
        data = cls(folder, read_manifest(folder / "manifest.parquet"), meta)
        if arrays:
            _verify_once(folder.absolute(), meta.content_hash, tuple(meta.files.items()))
        size = meta.size
        expected: dict[str, tuple[Pixels | None, tuple[int, ...]]] = {
            "images.npy": (data.images, (meta.images, meta.pack.channels, size, size)),
            "masks.npy": (data.masks, (meta.masks, size, size)),
            "manifest.parquet": (data.manifest["row"].to_numpy(), (meta.images,)),
        }
        for file, (array, shape) in expected.items():
            if array is not None and array.shape != shape:
                raise DataError(f"{folder}/{file}: shape {array.shape}, expected {shape}; prepare the data set again")
        return data

    @cached_property
    def images(self) -> Pixels:
        """Images ``[N, C, H, W]`` uint8 or uint16."""
        return self._map("images.npy")

    @cached_property
    def masks(self) -> Pixels | None:
        """Masks ``[M, H, W]`` uint8, or nothing; the values are in the module's docstring."""
        return self._map("masks.npy") if self.meta.masks else None

    @cached_property
    def class_index(self) -> Rows:
        """Class index of every row, −1 where there is no label."""
        order = {name: index for index, name in enumerate(self.meta.classes)}
        return np.array([order.get(label, -1) for label in self.manifest["label"]], np.int64)

    def rows(self, split: str | None = None, *, labelled: bool = True) -> Rows:
        """Return the positions of a split's rows in the manifest's order.

        Args:
            split: ``train``, ``val``, ``test``, or nothing for all.
            labelled: keep only rows with a label, a known finding or a known zone.
        """
        keep = np.ones(len(self.manifest), bool) if split is None else (self.manifest["split"] == split).to_numpy()
        if labelled:
            known = [*finding_columns(self.manifest), *ZONES]
            keep = keep & ((self.manifest["label"] != "") | self.manifest[known].notna().any(axis=1)).to_numpy()
        return np.flatnonzero(keep).astype(np.int64)

    def entries(self, positions: npt.ArrayLike) -> pd.DataFrame:
        """Return the manifest's rows at some positions as the predictions table takes them.

        ``patient_id`` is empty where the data set's patients are not known: the manifest counts each image as a patient
        of its own, which is good for splitting, but no ground for an interval.
        """
        rows = self.manifest.iloc[np.asarray(positions)]
        return rows if self.meta.patients == "known" else rows.assign(patient_id="")

    def targets(self, outputs: Sequence[str], *, blank: bool = False) -> npt.NDArray[np.float32]:
        """Return what is known of findings (1 or 0) and lung zones (0 to 3) in every row ``[N, outputs]``, else NaN.

        Args:
            outputs: findings without their ``y_``, and zones by their column, ``zone_0`` to ``zone_5``.
            blank: accept columns that hold only blanks: findings which this source does not label.

        Raises:
            DataError: an output is no column of the manifest, or its column holds only blanks and that is not accepted.
        """
        known = [column.removeprefix("y_") for column in finding_columns(self.manifest)]
        columns = [name if name in ZONES else f"y_{name}" for name in outputs]
        for name, column in zip(outputs, columns, strict=True):
            problem = "a label column with only blanks" if column in self.manifest else "no such finding"
            if column not in self.manifest or (not blank and self.manifest[column].isna().all()):
                there = ", ".join(known) or "none"
                raise DataError(f"{self.folder}: {name}: {problem}, expected known values; the findings are {there}")
        values: npt.NDArray[np.float32] = self.manifest[columns].to_numpy(np.float32)
        return values

    def verify(self) -> None:
        """Read every file and compare it with its recorded hash.

        Raises:
            DataError: a file is absent or its bytes have changed.
        """
        for file in self.meta.files:
            _verify(self.folder, file, self.meta.files)

    def _map(self, file: str) -> Pixels:
        try:
            array: Pixels = np.load(self.folder / file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, SyntaxError, TokenError) as error:
            raise DataError(f"{self.folder}/{file}: absent or damaged; prepare the data set again") from error
        return array


@cache
def _verify_once(folder: Path, content_hash: str, files: tuple[tuple[str, str], ...]) -> None:
    """Compare the files of a packed data set with their hashes, the first time that a process opens it."""
    del content_hash
    for file, _ in files:
        _verify(folder, file, dict(files))


def _verify(folder: Path, file: str, expected: Mapping[str, str]) -> None:
    if file not in expected or not (folder / file).is_file() or sha256_file(folder / file) != expected[file]:
        raise DataError(f"{folder}/{file}: not the bytes that were packed; prepare the data set again")


def _require_format(folder: Path, description: Any) -> None:
    written = description.get("format") if isinstance(description, dict) else None
    if isinstance(description, dict) and written != FORMAT:
        raise DataError(
            f"{folder}/{META}: format {written!r} is not that of this version, expected {FORMAT!r}; "
            "prepare the data set again"
        )


def _number_rows(manifest: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    table = manifest.drop(columns=BEFORE_PACKING, errors="ignore").reset_index(drop=True)
    outside = ~table["label"].isin(["", *classes])
    if outside.any():
        row = table[outside].iloc[0]
        raise DataError(
            f"{row['image_id']}: label {row['label']!r} is none of the classes {', '.join(classes)}; fix either"
        )
    table["row"] = np.arange(len(table))
    masked = np.array([mask != "" for mask in mask_files(manifest)], bool)
    table["mask_row"] = np.where(masked, np.cumsum(masked) - 1, -1)
    return table


def _statistics(table: pd.DataFrame, sums: npt.NDArray[np.float64], config: PackConfig) -> dict[str, Any]:
    train = (table["split"] == "train").to_numpy()
    chosen = sums[train] if train.any() else sums
    first, second = chosen.sum(0) / (len(chosen) * config.size**2)
    std = np.sqrt(np.maximum(second - first**2, 0))
    if (std == 0).any():
        raise DataError(f"{table['dataset'].iloc[0]}: all images are one grey level; check window and files")
    return {"mean": first.tolist(), "std": std.tolist(), "statistics_of": "train" if train.any() else "all"}
