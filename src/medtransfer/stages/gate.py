"""``medtransfer gate``: stop when a patient or an image stands in two splits, within a data set or across a chain."""

from argparse import Namespace

import numpy as np
import pandas as pd

from medtransfer import paths
from medtransfer.data.images import to_depth
from medtransfer.data.leaks import confirm_by_correlation, find_leaks, require_no_leaks, thumbnails
from medtransfer.data.packed import PackedDataset
from medtransfer.data.recall import recall_by_transform
from medtransfer.files import write_json
from medtransfer.params import load_params

PLANTED = 100


def run(options: Namespace) -> None:
    """Write ``out/gate.json``: hits, what is declared, and the gate's own recall; or close the gate."""
    params = load_params()
    opened = {name: PackedDataset.open(paths.dataset(name)) for name in params.datasets}
    manifest = pd.concat([data.manifest for data in opened.values()], ignore_index=True)
    pictures = np.concatenate([thumbnails(data.images) for data in opened.values()])
    confirm = confirm_by_correlation(pictures, params.gate.min_correlation)
    leaks = find_leaks(manifest, max_hamming=params.gate.max_hamming, confirm=confirm)
    require_no_leaks(leaks, params.gate)
    target = opened[params.attentive_transfer.finetune.dataset]
    planted = [to_depth(image, 8).mean(0, keepdims=True).astype(np.uint8) for image in target.images[:PLANTED]]
    recall = recall_by_transform(planted, params.gate, np.random.default_rng(0))
    hits = leaks.groupby(["dataset_a", "dataset_b", "kind"]).size().reset_index(name="pairs")
    content = {
        "settings": params.gate.model_dump(mode="json"),
        "images": len(manifest),
        "hits": hits.to_dict("records"),
        "pairs": leaks.to_dict("records"),
        "declared": {name: data.meta.known_overlaps for name, data in opened.items() if data.meta.known_overlaps},
        "planted": len(planted),
        "recall": recall,
    }
    write_json(paths.GATE, content)
