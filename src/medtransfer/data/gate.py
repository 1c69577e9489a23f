"""The leak gate over all data sets: which pairs can affect a result, and which planted copies it detects."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.data.images import to_depth
from medtransfer.data.leaks import GateConfig, confirm_by_correlation, find_leaks, thumbnails
from medtransfer.data.packed import PackedDataset
from medtransfer.data.recall import recall_by_transform

PLANTED = 100
"""Number of images of which altered copies are planted, over all data sets."""


def search(opened: Mapping[str, PackedDataset], chains: Iterable[Collection[str]], config: GateConfig) -> pd.DataFrame:
    """Return the leaks of ``leaks.find_leaks`` with a column ``matters``.

    It states whether a pair is within one data set or within one of the ``chains``, the data sets that a study reads
    together: only these can affect a result.
    """
    manifest = pd.concat([data.manifest for data in opened.values()], ignore_index=True)
    images = np.concatenate([thumbnails(data.images) for data in opened.values()])
    confirm = confirm_by_correlation(images, config.min_correlation)
    leaks = find_leaks(manifest, max_hamming=config.max_hamming, confirm=confirm)
    together = [set(chain) for chain in chains]
    pairs = zip(leaks["dataset_a"], leaks["dataset_b"], strict=True)
    matters = [a == b or any({a, b} <= names for names in together) for a, b in pairs]
    return leaks.assign(matters=pd.Series(matters, dtype=bool))


def report(opened: Mapping[str, PackedDataset], leaks: pd.DataFrame, config: GateConfig) -> dict[str, Any]:
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
        "hits": hits.to_dict("records"),
        "pairs": leaks.drop(columns="matters").to_dict("records"),
        "declared": {name: data.meta.known_overlaps for name, data in opened.items() if data.meta.known_overlaps},
        "planted": len(planted),
        "recall": recall_by_transform(planted, config, np.random.default_rng(0)),
    }
