"""One folder per class, with or without a level of splits: ImageNet, CIFAR-10, SARS-CoV-2 CT, anyone's own images.

Layout: ``<root>/<class>/…`` or ``<root>/{train,val|valid|validation,test}/<class>/…``. Known flaws: the layout knows no
patients, so every image is a patient of its own and neighbouring slices may be in two splits; CIFAR-10's test set
holds near-duplicates of its training set (Barz & Denzler 2020).
"""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from medtransfer.data.sources.base import Listing, Scan, Source, is_image, thin

SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class ImageFolderSource(Source):
    """Images sorted into class folders.

    Attributes:
        rename: class name of a folder; its order is the order of the classes, folders that it lacks follow by name.
        limit_per_class: largest number of images per class and split, drawn by a hash of the name.
        modality: ``natural``, ``CT`` or ``CXR``.
    """

    name: Literal["imagefolder"] = "imagefolder"
    rename: dict[str, str] = Field(default_factory=dict)
    limit_per_class: int | None = Field(default=None, ge=1)
    modality: Literal["natural", "CT", "CXR"] = "natural"
    citation: str = "not stated; see the publisher of the images"
    licence: str = "not stated; see the publisher of the images"
    flaws: ClassVar[str] = "the layout knows no patients, so neighbouring slices may be in two splits"

    def scan(self) -> Scan:
        """List every image below the class folders."""
        listing = Listing(self.root)
        folders = _subfolders(self.root)
        splits = {folder: SPLIT_FOLDERS[folder.name] for folder in folders if folder.name in SPLIT_FOLDERS}
        filled: set[str] = set()
        for folder in [c for f in splits for c in _subfolders(f)] if splits else folders:
            if self._add_class(listing, folder, splits.get(folder.parent, "")):
                filled.add(folder.name)
        for folder in folders if splits else []:
            if folder not in splits:
                listing.skip(folder.name, None, "folder is beside the split folders")
        ordered = [*(f for f in self.rename if f in filled), *sorted(filled - set(self.rename))]
        classes = dict.fromkeys(self.rename.get(f, f) for f in ordered)
        return listing.scan(tuple(classes), official_splits=bool(splits))

    def _add_class(self, listing: Listing, folder: Path, split: str) -> bool:
        before = len(listing.rows)
        label = self.rename.get(folder.name, folder.name)
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            relative = file.relative_to(self.root).as_posix()
            if is_image(file):
                listing.add(relative, label=label, split=split, modality=self.modality)
            else:
                listing.skip(relative, None, "not an image by its name")
        listed = len(listing.rows) - before
        listing.rows[before:] = thin(listing.rows[before:], self.limit_per_class)
        left_out = listed - (len(listing.rows) - before)
        if left_out or not listed:
            reason = f"{left_out} images above the limit of the class" if listed else "class folder without images"
            listing.skip(folder.relative_to(self.root).as_posix(), None, reason)
        return listed > 0


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
