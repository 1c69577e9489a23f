"""The leak gate over all data sets: which pairs can affect a result, and which planted copies it detects."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.data.images import to_depth
from medtransfer.data.leaks import GateConfig, find_leaks, find_near
from medtransfer.data.looks import VERSION, Looks, make_looks
from medtransfer.data.near import Near
from medtransfer.data.packed import PackedDataset
from medtransfer.data.recall import recall_by_transform
from medtransfer.files import new_folder, read_json, sha256_file, write_json

PLANTED = 60
"""Number of images of which altered copies are planted, over all data sets."""
ARRAYS = ("thumbnails.npy", "spectra.npy")
LOOKS = "looks.json"


def stored_looks(data: PackedDataset, folder: Path) -> Looks:
    """Return the looks of a packed data set, memory-mapped; they are made only when its images are new.

    Args:
        data: the data set; its content hash says whether ``folder`` holds looks of the same images.
        folder: where they are kept, made or replaced when the content, the version or the bytes differ.
    """
    about = {"content_hash": data.meta.content_hash, "version": VERSION}
    if not _kept(folder, about):
        looks = make_looks(data.images)
        with new_folder(folder, made=(*ARRAYS, LOOKS)) as staged:
            for file, array in zip(ARRAYS, (looks.thumbnails, looks.spectra), strict=True):
                np.save(staged / file, array)
            write_json(staged / LOOKS, about | {"files": {file: sha256_file(staged / file) for file in ARRAYS}})
    return Looks(*(np.load(folder / file, mmap_mode="r", allow_pickle=False) for file in ARRAYS))


def search(
    opened: Mapping[str, PackedDataset],
    looks: Sequence[Looks],
    chains: Iterable[Collection[str]],
    config: GateConfig,
) -> tuple[pd.DataFrame, Near]:
    """Return the leaks of ``leaks.find_leaks`` with a column ``matters``, and what the near search did.

    ``matters`` states whether a pair is within one data set or within one of the ``chains``, the data sets that a study
    reads together: only these can affect a result. ``looks`` are in the order of ``opened``.
    """
    manifest = pd.concat([data.manifest for data in opened.values()], ignore_index=True)
    near = find_near(manifest, _together(looks), config)
    leaks = find_leaks(manifest, near=near)
    together = [set(chain) for chain in chains]
    pairs = zip(leaks["dataset_a"], leaks["dataset_b"], strict=True)
    matters = [a == b or any({a, b} <= names for names in together) for a, b in pairs]
    return leaks.assign(matters=pd.Series(matters, dtype=bool)), near


def report(opened: Mapping[str, PackedDataset], leaks: pd.DataFrame, near: Near, config: GateConfig) -> dict[str, Any]:
    """Return what was searched and found, declared overlaps, and the recall on planted copies, for JSON."""
    count = max(1, PLANTED // len(opened))
    planted = [
        to_depth(image, 8).mean(0, keepdims=True).astype(np.uint8)
        for data in opened.values()
        for image in data.images[:count]
    ]
    labelled = leaks.assign(study=leaks["matters"].map({True: "one", False: "none"}))
    hits = labelled.groupby(["dataset_a", "dataset_b", "kind", "study"]).size().reset_index(name="pairs")
    return {
        "settings": config.model_dump(mode="json"),
        "images": sum(len(data.manifest) for data in opened.values()),
        "search": {"radius": near.radius, "candidates": near.candidates, "cut": near.cut, "plain": near.plain},
        "hits": hits.to_dict("records"),
        "pairs": leaks.drop(columns="matters").to_dict("records"),
        "declared": {name: data.meta.known_overlaps for name, data in opened.items() if data.meta.known_overlaps},
        "planted": len(planted),
        "recall": recall_by_transform(planted, config, np.random.default_rng(0), radius=near.radius),
    }


def _kept(folder: Path, about: Mapping[str, Any]) -> bool:
    try:
        kept = read_json(folder / LOOKS)
        return bool(kept == {**about, "files": {file: sha256_file(folder / file) for file in ARRAYS}})
    except (OSError, ValueError):
        return False


def _together(looks: Sequence[Looks]) -> Looks:
    """Return the looks of all data sets as one; one data set stays memory-mapped."""
    if len(looks) == 1:
        return looks[0]
    return Looks(*(np.concatenate(arrays) for arrays in zip(*((x.thumbnails, x.spectra) for x in looks), strict=True)))
