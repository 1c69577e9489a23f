"""``medtransfer gate``: stop when a patient or an image is in two splits, within a data set or across a study."""

from argparse import Namespace
from collections.abc import Mapping

import numpy as np
import pandas as pd

from medtransfer import paths
from medtransfer.data.images import to_depth
from medtransfer.data.leaks import GateConfig, confirm_by_correlation, find_leaks, require_no_leaks, thumbnails
from medtransfer.data.packed import PackedDataset
from medtransfer.data.recall import recall_by_transform
from medtransfer.files import remove_made, write_json
from medtransfer.params import Params, load_params
from medtransfer.studies import STUDIES, module
from medtransfer.training.progress import console

PLANTED = 100
MADE = ("report.json", "datasets", "chains", "studies")
"""Contents of the gate's folder; a folder that holds anything else is not replaced."""


def run(options: Namespace) -> None:
    """Write ``report.json`` and, if the gate is open, a token per data set and study; otherwise close the gate.

    Fits depend on the tokens of their study and of the data sets they read; a token changes only with its data.
    """
    del options
    remove_made(paths.GATE, MADE)
    params = load_params()
    chains = _chains(params)
    opened = {name: PackedDataset.open(paths.dataset(name)) for name in params.datasets}
    leaks = _leaks(opened, params.gate)
    together = _together(leaks, chains)
    require_no_leaks(leaks[together], params.gate)
    write_json(paths.GATE_REPORT, _report(opened, leaks, together, params.gate))
    hashes = {name: data.meta.content_hash for name, data in opened.items()}
    for name, content in hashes.items():
        write_json(paths.gate_dataset(name), {"dataset": name, "content_hash": content, "gate": "open"})
    for study, names in chains.items():
        write_json(paths.gate_study(study), {name: hashes[name] for name in names})
        write_json(paths.gate_chain(study), {"study": study, "gate": "open"})


def _chains(params: Params) -> dict[str, tuple[str, ...]]:
    """Return the data sets of every study; a study that reads one missing in params.yaml is named and left out."""
    chains = {}
    for study in STUDIES:
        names: tuple[str, ...] = module(study, "study").datasets(params.study(study))
        missing = [name for name in names if name not in params.datasets]
        if missing:
            problem = f"{study}: reads {missing[0]!r}, which is not a data set in params.yaml; it cannot be fitted"
            console.print(problem, markup=False, soft_wrap=True)
        else:
            chains[study] = names
    return chains


def _leaks(opened: Mapping[str, PackedDataset], config: GateConfig) -> pd.DataFrame:
    manifest = pd.concat([data.manifest for data in opened.values()], ignore_index=True)
    images = np.concatenate([thumbnails(data.images) for data in opened.values()])
    confirm = confirm_by_correlation(images, config.min_correlation)
    return find_leaks(manifest, max_hamming=config.max_hamming, confirm=confirm)


def _together(leaks: pd.DataFrame, chains: Mapping[str, tuple[str, ...]]) -> pd.Series:
    """Return which pairs are within one data set or one study: only these can affect a result."""
    pairs = zip(leaks["dataset_a"], leaks["dataset_b"], strict=True)
    return pd.Series([a == b or any({a, b} <= set(chain) for chain in chains.values()) for a, b in pairs], dtype=bool)


def _report(
    opened: Mapping[str, PackedDataset], leaks: pd.DataFrame, together: pd.Series, config: GateConfig
) -> dict[str, object]:
    """Return what was searched and found, declared overlaps, and the recall on planted copies of all data sets."""
    count = max(1, PLANTED // len(opened))
    planted = [
        to_depth(image, 8).mean(0, keepdims=True).astype(np.uint8)
        for data in opened.values()
        for image in data.images[:count]
    ]
    labelled = leaks.assign(study=together.map({True: "one", False: "none"}))
    hits = labelled.groupby(["dataset_a", "dataset_b", "kind", "study"]).size().reset_index(name="pairs")
    return {
        "settings": config.model_dump(mode="json"),
        "images": sum(len(data.manifest) for data in opened.values()),
        "hits": hits.to_dict("records"),
        "pairs": leaks.to_dict("records"),
        "declared": {name: data.meta.known_overlaps for name, data in opened.items() if data.meta.known_overlaps},
        "planted": len(planted),
        "recall": recall_by_transform(planted, config, np.random.default_rng(0)),
    }
