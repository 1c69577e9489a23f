"""Every file below a folder, to be read or left out with a reason: the one listing of add, prepare and evaluate."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from medtransfer.data.dicom_header import is_dicom
from medtransfer.data.images import SUFFIXES

SYSTEM = frozenset({"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir"})
"""Names, in lower case, that a system makes; so are all that begin with a full stop."""
THUMBNAILS = frozenset({"thumb", "thumbs", "thumbnail", "thumbnails", "preview", "previews"})
MASKS = frozenset({"mask", "masks", "segmentation", "segmentations", "annotation", "annotations", "ground_truth"})
_SMALL = re.compile(r"(?:thumb(?:nail)?[_.-](.+)|(.+)[_.-]thumb(?:nail)?)", re.IGNORECASE)
_CACHE = re.compile(r"/files/md5/[0-9a-f]{2}/[0-9a-f]{30}$")
"""A file of DVC's cache, which its links may lead to."""


@dataclass(frozen=True)
class Skipped:
    """A file or list entry that was left out, and why; ``row`` counts from 1, a table's header included."""

    file: str
    row: int | None
    reason: str


@dataclass(frozen=True)
class _Entry:
    path: str
    real: str
    linked: bool


def is_image(path: Path) -> bool:
    """Whether a file's name has the suffix of an image format."""
    return path.suffix.lower() in SUFFIXES


def images_below(root: Path) -> tuple[list[str], list[Skipped]]:
    """Return the images below a folder by their path relative to it, and every other file with the reason.

    A link is followed inside the root; what it leads to is read under the link, not a second time in its own place.
    Images are known by their names, DICOM by its bytes; whether they can be decoded shows later.
    """
    entries: list[_Entry] = []
    left_out: list[Skipped] = []
    _walk(root, root, root.resolve(), linked=False, entries=entries, left_out=left_out)
    images: dict[str, str] = {}
    for entry in sorted(entries, key=lambda each: not each.linked):
        if entry.real in images:
            left_out.append(Skipped(entry.path, None, f"the same file as {images[entry.real]}"))
        elif reason := _reason(root, entry.path):
            left_out.append(Skipped(entry.path, None, reason))
        else:
            images[entry.real] = entry.path
    there = set(images.values())
    small = {path: of for path in there if (of := _shrunken(path, there))}
    left_out += [Skipped(path, None, f"a thumbnail of {of}") for path, of in sorted(small.items())]
    return sorted(there - small.keys()), sorted(left_out, key=lambda each: each.file)


def leads_out(root: Path, path: str | Path) -> bool:
    """Whether a file, by its path relative to a folder, is, by a link, somewhere else, and not in DVC's cache."""
    return _outside(os.path.realpath(root / path), os.path.realpath(root))


def _outside(real: str, root: str) -> bool:
    return not (real == root or real.startswith(f"{root}{os.sep}") or _CACHE.search(real))


def _walk(root: Path, folder: Path, top: Path, *, linked: bool, entries: list[_Entry], left_out: list[Skipped]) -> None:
    for each in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = (folder / each.name).relative_to(root).as_posix()
        reason, through = _unfit(each), linked or each.is_symlink()
        real = os.path.realpath(each.path) if each.is_symlink() else os.path.join(os.path.realpath(folder), each.name)  # noqa: PTH118
        if not reason and each.is_symlink():
            reason = _bad_link(each, real, str(top))
        if reason:
            left_out.append(Skipped(_printable(path), None, reason))
        elif each.is_dir():
            _walk(root, Path(each.path), top, linked=through, entries=entries, left_out=left_out)
        else:
            entries.append(_Entry(path, real, through))


def _unfit(entry: "os.DirEntry[str]") -> str:
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    hidden = entry.name.startswith(".") or entry.name.lower() in SYSTEM
    return "hidden, or made by the system" if hidden else ""


def _bad_link(entry: "os.DirEntry[str]", real: str, root: str) -> str:
    if not Path(real).exists():
        return "a link to nothing"
    if _outside(real, root):
        return "a link that leads out of the data set's folder"
    here = os.path.realpath(Path(entry.path).parent)
    return "a link to a folder that it is in" if f"{here}{os.sep}".startswith(f"{real}{os.sep}") else ""


def _printable(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode()


def _reason(root: Path, path: str) -> str:
    """Say why a file is no image to read; empty when it is one."""
    pure = PurePosixPath(path)
    above = [part.lower() for part in pure.parts[1:-1]]
    if not is_image(root / path) and not is_dicom(root / path):
        named = pure.suffix.lower() in (".dcm", ".dicom")
        return "not an image by its bytes, though named like DICOM" if named else "not an image by its name"
    if any(part in MASKS for part in above):
        return "in a folder of masks"
    return "in a folder of thumbnails" if any(part in THUMBNAILS for part in above) else ""


def _shrunken(path: str, there: set[str]) -> str:
    """Return the image that another is a thumbnail of by its name; empty when it is none."""
    pure = PurePosixPath(path)
    named = _SMALL.fullmatch(pure.stem)
    if named is None:
        return ""
    stem = named[1] or named[2]
    return next((of for of in _siblings(pure, stem) if of in there), "")


def _siblings(pure: PurePosixPath, stem: str) -> Iterator[str]:
    for suffix in (pure.suffix, *sorted(SUFFIXES)):
        yield (pure.parent / f"{stem}{suffix}").as_posix()
