"""Adding a data set: read every image once, copy the raw files whole, say what was left out and why."""

import os
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.data.dicom_header import (
    described,
    file_and_frame,
    is_dicom,
    windows_in_words,
    write_without_identity,
)
from medtransfer.data.hashing import perceptual_hash, pixel_sha, sha256_file, to_hex
from medtransfer.data.images import Decoded, Pixels, decode, window
from medtransfer.data.manifest import build_manifest, validate_manifest
from medtransfer.data.sources import ImageFolderSource, Scan, Skipped, SourceConfig
from medtransfer.data.sources.base import inside
from medtransfer.data.sources.imagefolder import require_two_classes
from medtransfer.data.sources.listing import images_below
from medtransfer.errors import DataError
from medtransfer.files import new_folder, require_made, write_json
from medtransfer.paths import below

Keep = Callable[[str, Decoded], None]  # takes the path of an image in its source, and its content


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
    notes: list[str]
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
        lines += [f"  note     {note}" for note in self.notes]
        lines.append(f"  left out {len(self.skipped)}")
        lines += [f"  {count:>6}  {reason}" for count, reason in by_reason(self.skipped)]
        if self.known_overlaps:
            lines.append(f"  overlaps {self.known_overlaps}")
        lines += [f"  flaws    {self.flaws}", f"  licence  {self.licence}", f"  cite     {self.citation}"]
        return "\n".join(lines)


def by_reason(skipped: Sequence[Skipped]) -> list[tuple[int, str]]:
    """Return how many were left out for each reason, the most frequent first, and the reason with its first files."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for each in skipped:
        reasons[each.reason].append(each.file if each.row is None else f"{each.file} (row {each.row})")
    return [
        (len(files), f"{reason}: {', '.join(files[:3])}{', …' if len(files) > 3 else ''}")
        for reason, files in sorted(reasons.items(), key=lambda item: -len(item[1]))
    ]


def decoded_classes(source: SourceConfig, scan: Scan, manifest: pd.DataFrame) -> tuple[str, ...]:
    """Return the classes of a data set: those that the layout declares, else those of the images that were decoded.

    Raises:
        DataError: folders give one class alone, which nobody named.
    """
    labels = set(manifest["label"])
    found = tuple(name for name in scan.classes if name in labels) if scan.classes_as_found else scan.classes
    if isinstance(source, ImageFolderSource):
        require_two_classes(source, found)
    return found


def unlisted(source: SourceConfig, scan: Scan) -> list[Skipped]:
    """Return, by folder, how many images and other files below the root the layout's lists do not name."""
    named = {_file(source.root, row["path"]) for row in scan.rows} | _masks(scan)
    named |= set(scan.metadata) | {each.file for each in scan.skipped}
    images, others = images_below(source.root)
    left = [path for path in (*images, *(each.file for each in others)) if path not in named]
    folders = Counter(path.rpartition("/")[0] for path in left)
    return [Skipped(f"{folder or '.'}/", None, f"{count} files in no list") for folder, count in folders.items()]


def scan_to_manifest(
    source: SourceConfig, dataset_name: str, *, scan: Scan | None = None, raw: bool = False, keep: Keep | None = None
) -> tuple[pd.DataFrame, list[Skipped]]:
    """Decode every image of a source once and return its manifest, and what was left out.

    The manifest has ids in the data set's name space, the three hashes, and a column ``mask`` until it is packed.

    Args:
        source: the layout to read.
        dataset_name: prefix of image and patient ids.
        scan: what ``source.scan()`` returned, to save a second one.
        raw: accept numbers that only a window makes an image; see ``read_image``.
        keep: is given every image as it is decoded, in several threads; its ``DataError`` leaves the image out.

    Raises:
        DataError: the layout is wrong, or no image can be read.
    """
    listed = scan or source.scan()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # decoding and hashing release the lock
        prints = list(pool.map(lambda row: _fingerprint(source.root, row["path"], raw=raw, keep=keep), listed.rows))
    skipped = [*listed.skipped, *(each for each in prints if isinstance(each, Skipped))]
    pairs = zip(listed.rows, prints, strict=True)
    rows = [_named(row, each, dataset_name) for row, each in pairs if not isinstance(each, Skipped)]
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
    _require_free(target, source.root)
    scan = source.scan()
    manifest, skipped = scan_to_manifest(source, name, scan=scan, raw=True)
    decoded_classes(source, scan, manifest)
    listed = {_file(source.root, row["path"]) for row in scan.rows}
    decoded = {_file(source.root, path) for path in manifest["path"]}
    lost = {file for file in listed - decoded if is_dicom(source.root / file)}  # what is not read is not cleaned either
    copied = _copy_whole(
        source.root, sorted((listed - lost) | _masks(scan) | set(scan.metadata)), target, scan.rewritten
    )
    windows = windows_in_words(manifest["window"], None)
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
        skipped=[*skipped, *unlisted(source, scan)],
        notes=[*scan.notes, *([windows] if windows else [])],
        flaws=source.flaws,
        licence=source.licence,
        citation=source.citation,
    )
    write_json(copy_to / f"{name}.report.json", report.to_json())
    return report


def require_repository(workspace: Path) -> None:
    """Refuse a folder in which DVC versions nothing, before anything is copied.

    Raises:
        DataError: there is no DVC repository, or it belongs to a git repository that is not there.
    """
    places = [workspace, *workspace.absolute().parents]
    home = next((place for place in places if (place / ".dvc").is_dir()), None)
    if home is None:
        raise DataError(f"{workspace}: no DVC repository, expected a checkout; git clone the project, or run dvc init")
    config = home / ".dvc" / "config"
    alone = config.is_file() and "no_scm = true" in config.read_text(encoding="utf-8", errors="replace").lower()
    if not alone and not any((place / ".git").exists() for place in places):
        raise DataError(
            f"{workspace}: no git checkout, which DVC needs; git clone the project instead of unpacking an archive, or "
            "run git init here"
        )


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


def _fingerprint(root: Path, path: str, *, raw: bool, keep: Keep | None) -> dict[str, str] | Skipped:
    file = file_and_frame(root / path)[0]
    try:
        decoded = decode(root / path, raw=raw)
        image = decoded.array(decoded.channels)
        if keep:
            keep(path, decoded)
        about = described(root / path) if is_dicom(file) else {}
    except DataError as error:
        return Skipped(path, None, str(error).removeprefix(f"{root / path}: "))
    look = to_hex(perceptual_hash(_levels(image)))
    return about | {"sha256": _sha256(file, file.stat().st_mtime_ns), "pixel_sha": pixel_sha(image), "phash": look}


@cache
def _sha256(file: Path, changed: int) -> str:
    """Return the hash of a file, read once for all its frames; ``changed`` is the time of its last change, in ns."""
    return sha256_file(file)


def _file(root: Path, path: str) -> str:
    """Return the file of an image by its path, which may name a frame."""
    return file_and_frame(root / path)[0].relative_to(root).as_posix()


def _masks(scan: Scan) -> set[str]:
    return {row["mask"] for row in scan.rows if row.get("mask")}


def _levels(image: Pixels) -> Pixels:
    """Return raw numbers stretched to 16 bits, which does not change a perceptual hash; grey levels as they are."""
    if image.dtype in (np.uint8, np.uint16):
        return image
    low, high = float(image.min()), float(image.max())
    return window(image, (low + high) / 2, max(high - low, 1.0), bits=16)


def _named(row: dict[str, Any], prints: dict[str, str], dataset: str) -> dict[str, Any]:
    """Return a row of the manifest; what a table says of an image comes before what its header says."""
    names = {"image_id": f"{dataset}/{row['image_id']}", "patient_id": f"{dataset}:{row['patient_id']}"}
    return {"mask": "", **prints, **row, **names, "dataset": dataset}


def _require_free(target: Path, root: Path) -> None:
    if target.exists() and root.is_dir() and target.resolve() == root.resolve():
        raise DataError(
            f"{target}: the data set is in its place already, nothing is copied; name the folder in a profile, and "
            f"version it with: dvc add {target}"
        )
    try:
        require_made(target, ())
    except DataError as error:
        raise DataError(
            f"{target}: exists already, expected a new folder; choose another --name, or move what is there"
        ) from error


def _copy_whole(root: Path, files: list[str], target: Path, rewritten: Mapping[str, str]) -> int:
    """Copy into a folder beside the target and rename it at the end; return the bytes copied."""
    if outside := [file for file in files if not inside(file)]:
        raise DataError(f"{root}: {outside[0]!r} is outside the data set's folder, expected inside; move it there")
    try:
        with new_folder(target) as staged:
            for file in files:
                (staged / file).parent.mkdir(parents=True, exist_ok=True)
                if file in rewritten:
                    (staged / file).write_text(rewritten[file], encoding="utf-8")
                    continue
                copy = write_without_identity if is_dicom(root / file) else shutil.copyfile
                copy(root / file, staged / file)
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
