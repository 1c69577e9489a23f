"""One folder per class, with or without a level of splits: ImageNet, CIFAR-10, SARS-CoV-2 CT, anyone's own images.

Layout: ``<root>/<class>/…`` or ``<root>/{train,val|valid|validation,test}/<class>/…``. Nothing is guessed: every file
below the root is read or left out with a reason, and names that look like splits or masks are no classes. Known flaws:
the layout knows no patients, so every image is a patient of its own and neighbouring slices may be in two splits;
CIFAR-10's test set holds near-duplicates of its training set (Barz & Denzler 2020).
"""

from collections import defaultdict
from pathlib import PurePosixPath
from typing import ClassVar, Literal

from pydantic import Field

from medtransfer.data.sources.base import Listing, Scan, Source, thin
from medtransfer.data.sources.listing import MASKS, images_below
from medtransfer.errors import DataError

SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
SPLIT_LIKE = frozenset({*SPLIT_FOLDERS, "training", "testing", "dev", "eval", "evaluation", "holdout", "trainset"})


class ImageFolderSource(Source):
    """Images sorted into class folders.

    Attributes:
        rename: class name of a folder; its order is the order of the classes, folders that it lacks follow by name.
        splits: split of a folder that is named otherwise, such as ``{Training: train, Testing: test}``.
        leave_out: names of folders, at any depth, that are not read.
        limit_per_class: largest number of images per class and split, drawn by a hash of the name.
        modality: ``natural``, ``CT`` or ``CXR``.
    """

    name: Literal["imagefolder"] = "imagefolder"
    rename: dict[str, str] = Field(default_factory=dict)
    splits: dict[str, Literal["train", "val", "test"]] = Field(default_factory=dict)
    leave_out: tuple[str, ...] = ()
    limit_per_class: int | None = Field(default=None, ge=1)
    modality: Literal["natural", "CT", "CXR"] = "natural"
    citation: str = "not stated; see the publisher of the images"
    licence: str = "not stated; see the publisher of the images"
    flaws: ClassVar[str] = "the layout knows no patients, so neighbouring slices may be in two splits"

    def scan(self) -> Scan:
        """List every image below the class folders.

        Raises:
            DataError: a class has the name of a split or of masks, or a folder that an option names is not there.
        """
        listing = Listing(self.root)
        images, left_out = images_below(self.root)
        listing.skipped += left_out
        known, classes = SPLIT_FOLDERS | self.splits, defaultdict[tuple[str, str], list[str]](list)
        split_level = {p.name for p in self.root.iterdir() if p.is_dir()} & known.keys()
        for path in images:
            parts = PurePosixPath(path).parts[:-1]
            if self.leave_out and set(parts) & set(self.leave_out):
                listing.skip(path, None, "in a folder that leave_out names")
            elif split_level and parts and parts[0] not in split_level:
                listing.skip(path, None, "beside the split folders")
            elif len(parts) <= bool(split_level):
                listing.skip(path, None, "in no class folder, so without a label")
            else:
                classes[(parts[0] if split_level else "", parts[bool(split_level)])].append(path)
        self._require_classes({folder for _, folder in classes})
        for (split, folder), paths in sorted(classes.items()):
            self._add_class(listing, folder, paths, known.get(split, ""))
        self._note_empty(listing, split_level)
        filled = {folder for _, folder in classes}
        ordered = [*(f for f in self.rename if f in filled), *sorted(filled - set(self.rename))]
        names = dict.fromkeys(self.rename.get(f, f) for f in ordered)
        if split_level:
            listing.notes.append(f"folders of splits: {', '.join(f'{f} ({known[f]})' for f in sorted(split_level))}")
        return listing.scan(tuple(names), official_splits=bool(split_level), classes_as_found=True)

    def _require_classes(self, folders: set[str]) -> None:
        like = {f: "a split" for f in folders if f.lower() in SPLIT_LIKE} | {
            f: "masks" for f in folders if f.lower() in MASKS
        }
        for folder, what in sorted(like.items()):
            if folder not in self.rename:
                remedy = f"splits={{{folder}: train}}" if what == "a split" else f"leave_out=[{folder}]"
                raise DataError(
                    f"{self.root}: folder {folder} has the name of {what} and would become a class; "
                    f'--set "{remedy}" reads it so, --set "rename={{{folder}: {folder}}}" makes it a class'
                )
        if absent := sorted(set(self.rename) - folders):
            there = ", ".join(sorted(folders)) or "none"
            raise DataError(f"{self.root}: rename: there is no class folder {absent[0]!r}; there are {there}")

    def _add_class(self, listing: Listing, folder: str, paths: list[str], split: str) -> None:
        before, label = len(listing.rows), self.rename.get(folder, folder)
        for path in paths:
            listing.add(path, label=label, split=split, modality=self.modality)
        listed = len(listing.rows) - before
        listing.rows[before:] = thin(listing.rows[before:], self.limit_per_class)
        if left_out := listed - (len(listing.rows) - before):
            where = PurePosixPath(paths[0]).parts[: 1 + bool(split)]
            listing.skip("/".join(where), None, f"{left_out} images above the limit of the class")

    def _note_empty(self, listing: Listing, splits: set[str]) -> None:
        """Name class folders without any file."""
        files = [*(row["path"] for row in listing.rows), *(each.file for each in listing.skipped)]
        named = {"/".join(file.split("/")[:depth]) for file in files for depth in (1, 2)}
        for above in sorted(splits) or [""]:
            for folder in sorted(path for path in (self.root / above).iterdir() if path.is_dir()):
                relative = folder.relative_to(self.root).as_posix()
                if relative not in named:
                    listing.skip(relative, None, "class folder without images")


def require_two_classes(source: ImageFolderSource, classes: tuple[str, ...]) -> None:
    """Refuse one class, unless ``rename`` names it: the root is probably a folder too high.

    Raises:
        DataError: there is one class.
    """
    if len(classes) < 2 and not source.rename:
        name = classes[0]
        below = sorted(p.name for p in (source.root / name).glob("*") if p.is_dir() and not p.name.startswith("."))
        remedy = (
            f"below it are {', '.join(below[:5])}: give --from {source.root / name}"
            if below
            else f'if it is right, --set "rename={{{name}: {name}}}"'
        )
        raise DataError(f"{source.root}: all images are of one class, {name}, expected two or more; {remedy}")
