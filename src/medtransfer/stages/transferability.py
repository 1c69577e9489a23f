"""``medtransfer transferability STUDY``: what every source model knows of the target before it is fine-tuned."""

from argparse import Namespace
from dataclasses import asdict
from functools import cache
from itertools import product
from pathlib import Path

import pandas as pd

from medtransfer import paths
from medtransfer.data.loaders import Loader
from medtransfer.evaluation.transferability import TransferScore, transfer_score
from medtransfer.files import read_json, write_text
from medtransfer.models.weights import load_model
from medtransfer.params import load_params
from medtransfer.studies.attentive_transfer import study
from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig
from medtransfer.training.engine import Engine
from medtransfer.training.features import FeatureTask
from medtransfer.training.inference import predict
from medtransfer.training.loading import evaluation_loader, open_dataset
from medtransfer.training.progress import console


def run(options: Namespace) -> None:
    """Write ``out/<study>/transferability.csv``: a row a network, chain and fine-tuning seed, with its source's scores.

    Scores read the training split of the target in the evaluation view that fine-tuning has (M-14): no validation or
    test label is seen. The untrained network has its 1000-way head, every other source the head it was trained with.
    """
    params = load_params()
    config, engine = params.attentive_transfer, Engine(params.hardware.model_copy(update={"precision": "fp32"}))
    data = open_dataset(config.finetune.dataset)
    loader = evaluation_loader(data, "train", config.finetune.augment.crop, engine)

    @cache
    def score(network: str, chain: str, source_seed: int) -> TransferScore:
        folder = study.pretrained_folder(network, chain)
        found = _score(folder, source_seed, loader, engine, unavailable=_no_labels(config, folder, chain, source_seed))
        console.print(f"scored {network} · {chain} · seed {source_seed}")
        return found

    rows = []
    for network, chain, seed in product(config.networks, config.chains, config.seeds):
        names = {
            "network": network,
            "chain": chain,
            "seed": seed,
            "source_seed": study.source_seed(config, chain, seed),
        }
        rows.append(names | asdict(score(network, chain, names["source_seed"])))
    write_text(paths.OUT / options.study / "transferability.csv", pd.DataFrame(rows).to_csv(index=False))


def _score(folder: Path, seed: int, loader: Loader, engine: Engine, *, unavailable: str) -> TransferScore:
    model, _ = load_model(folder / "weights" / f"seed{seed}")
    found = predict(FeatureTask(engine.place(model)), loader, engine)
    probabilities = None if unavailable else found["probability"]
    classes = len(loader.data.meta.classes)
    return transfer_score(found["features"], found["target"], probabilities, classes=classes, unavailable=unavailable)


def _no_labels(config: AttentiveTransferConfig, folder: Path, chain: str, seed: int) -> str:
    """Return why a source has no label head of its own, or nothing when it has one."""
    if config.recipe(chain) is not None:
        return f"{chain} ends self-supervised: its head was never trained"
    ready_made = folder / "records" / f"seed{seed}" / "ready_made.json"
    if ready_made.exists() and any(key.startswith("head.") for key in read_json(ready_made)["kept"]):
        return "the ready-made weights have no head for this network's labels"
    return ""
