"""Adding a data set: read every image once, copy the raw files whole, say what was left out and why."""

import os
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.data.hashing import perceptual_hash, pixel_sha, sha256_file, to_hex
from medtransfer.data.images import Pixels, read_image, window
from medtransfer.data.manifest import build_manifest, validate_manifest
from medtransfer.data.sources import Scan, Skipped, SourceConfig
from medtransfer.data.sources.base import inside
from medtransfer.errors import DataError
from medtransfer.files import new_folder, require_made, write_json
from medtransfer.paths import below


@dataclass(frozen=True)
class AddReport:
    """What was read from a source, and what was not."""

    name: str
    source: str
    images: int
    patients: int
    bytes: int
    labels: dict[str, dict[str, int]]
    official_splits: bool
    known_overlaps: str
    patients_known: bool
    skipped: list[Skipped]
    flaws: str
    licence: str
    citation: str

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)

    def to_text(self) -> str:
        """Return the report as a table for people: counts by split and label, then each reason with its first files."""
        of = f"of {self.patients} patients" if self.patients_known else "without patient ids"
        lines = [f"{self.name}: {self.images} images {of}, {self.bytes / 1e6:.1f} MB, {self.source}"]
        for split, counts in self.labels.items():
            lines.append(f"  {split:<9}" + "  ".join(f"{label} {count}" for label, count in counts.items()))
        lines.append(f"  left out {len(self.skipped)}")
        reasons: dict[str, list[str]] = defaultdict(list)
        for each in self.skipped:
            reasons[each.reason].append(each.file if each.row is None else f"{each.file} (row {each.row})")
        for reason, files in sorted(reasons.items(), key=lambda item: -len(item[1])):
            lines.append(f"  {len(files):>6}  {reason}: {', '.join(files[:3])}{', …' if len(files) > 3 else ''}")
        if self.known_overlaps:
            lines.append(f"  overlaps {self.known_overlaps}")
        lines += [f"  flaws    {self.flaws}", f"  licence  {self.licence}", f"  cite     {self.citation}"]
        return "\n".join(lines)


def scan_to_manifest(
    source: SourceConfig, dataset_name: str, *, scan: Scan | None = None, raw: bool = False
) -> tuple[pd.DataFrame, list[Skipped]]:
    """Decode every image of a source once and return its manifest, and what was left out.

    The manifest has ids in the data set's name space, the three hashes, and a column ``mask`` until it is packed.

    Args:
        source: the layout to read.
        dataset_name: prefix of image and patient ids.
        scan: what ``source.scan()`` returned, to save a second one.
        raw: accept numbers that only a window makes an image; see ``read_image``.

    Raises:
        DataError: the layout is wrong, or no image can be read.
    """
    listed = scan or source.scan()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # decoding and hashing release the lock
        prints = list(pool.map(lambda row: _fingerprint(source.root, row["path"], raw=raw), listed.rows))
    skipped = [*listed.skipped, *(each for each in prints if isinstance(each, Skipped))]
    pairs = zip(listed.rows, prints, strict=True)
    rows = [_named(row, dataset_name) | each for row, each in pairs if not isinstance(each, Skipped)]
    if not rows:
        raise DataError(f"{source.root}: none of {len(prints)} images can be read; first: {skipped[-1].reason}")
    return validate_manifest(build_manifest(rows), classes=listed.classes or None), skipped


def add_dataset(source: SourceConfig, name: str, *, copy_to: Path) -> AddReport:
    """Copy the raw files of a data set to ``copy_to/<name>`` and report on every image.

    The copy has the source's layout, so the same source with ``root = copy_to/<name>`` reads it. It appears under its
    name only when it is whole. The report is also written to ``copy_to/<name>.report.json``.

    Raises:
        ConfigError: the name is not plain.
        DataError: the target holds files, no image can be read, or a file of the data set is outside its folder.
    """
    target = below(copy_to, name, "data set")
    _require_free(target)
    scan = source.scan()
    manifest, skipped = scan_to_manifest(source, name, scan=scan, raw=True)
    masks = {row["mask"] for row in scan.rows if row.get("mask")}
    files = sorted({row["path"] for row in scan.rows} | masks | set(scan.metadata))
    copied = _copy_whole(source.root, files, target)
    report = AddReport(
        name=name,
        source=source.name,
        images=len(manifest),
        patients=manifest["patient_id"].nunique(),
        bytes=copied,
        labels=_counts(manifest),
        official_splits=scan.official_splits,
        known_overlaps=scan.known_overlaps,
        patients_known=scan.patients == "known",
        skipped=skipped,
        flaws=source.flaws,
        licence=source.licence,
        citation=source.citation,
    )
    write_json(copy_to / f"{name}.report.json", report.to_json())
    return report


def write_pointer(folder: Path, *, workspace: Path) -> Path:
    """Let DVC version a folder of raw data and return the pointer file ``<folder>.dvc``.

    Args:
        folder: the data set, relative to the workspace or absolute.
        workspace: folder inside a DVC repository.

    Raises:
        DataError: DVC refuses; the message is DVC's own.
    """
    command = [sys.executable, "-m", "dvc", "add", str(folder)]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False)
    if done.returncode:
        message = " ".join((done.stderr or done.stdout).split())
        raise DataError(f"{folder}: DVC could not version the data set ({message}); fix this and run dvc add again")
    return workspace / folder.with_name(f"{folder.name}.dvc")


def _fingerprint(root: Path, path: str, *, raw: bool) -> dict[str, str] | Skipped:
    try:
        image = read_image(root / path, channels=3, raw=raw)
    except DataError as error:
        return Skipped(path, None, str(error).removeprefix(f"{root / path}: "))
    look = to_hex(perceptual_hash(_levels(image)))
    return {"sha256": sha256_file(root / path), "pixel_sha": pixel_sha(image), "phash": look}


def _levels(image: Pixels) -> Pixels:
    """Return raw numbers stretched to 16 bits, which does not change a perceptual hash; grey levels as they are."""
    if image.dtype in (np.uint8, np.uint16):
        return image
    low, high = float(image.min()), float(image.max())
    return window(image, (low + high) / 2, max(high - low, 1.0), bits=16)


def _named(row: dict[str, Any], dataset: str) -> dict[str, Any]:
    names = {"image_id": f"{dataset}/{row['image_id']}", "patient_id": f"{dataset}:{row['patient_id']}"}
    return {"mask": "", **row, **names, "dataset": dataset}


def _require_free(target: Path) -> None:
    try:
        require_made(target, ())
    except DataError as error:
        raise DataError(f"{target}: exists already, expected a new folder; remove it or choose another name") from error


def _copy_whole(root: Path, files: list[str], target: Path) -> int:
    """Copy into a folder beside the target and rename it at the end; return the bytes copied."""
    if outside := [file for file in files if not inside(file)]:
        raise DataError(f"{root}: {outside[0]!r} is outside the data set's folder, expected inside; move it there")
    try:
        with new_folder(target) as staged:
            for file in files:
                (staged / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / file, staged / file)
    except OSError as error:
        raise DataError(
            f"{target}: the copy broke off ({error}); make room or correct the rights, then add again"
        ) from error
    return sum((target / file).stat().st_size for file in files)


def _counts(manifest: pd.DataFrame) -> dict[str, dict[str, int]]:
    pairs = zip(manifest["split"], manifest["label"], strict=True)
    counts: dict[str, dict[str, int]] = {}
    for (split, label), count in sorted(Counter(pairs).items()):
        counts.setdefault(split or "no split", {})[label or "no label"] = count
    return counts
