"""What every source model knows of the target before it is fine-tuned: LEEP, NCE and LogME at each hand-over."""

from dataclasses import asdict
from functools import cache
from itertools import product
from pathlib import Path

import pandas as pd

from medtransfer.evaluation.transferability import TransferScore
from medtransfer.files import read_json
from medtransfer.models.weights import load_model
from medtransfer.studies.attentive_transfer import study
from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig
from medtransfer.training.engine import Engine
from medtransfer.training.features import score_source
from medtransfer.training.loading import evaluation_loader, open_dataset
from medtransfer.training.progress import console


def transferability(config: AttentiveTransferConfig, engine: Engine) -> pd.DataFrame:
    """Return a row a network, chain and fine-tuning seed with its source's scores.

    Scores read the training split of the target in the evaluation view that fine-tuning has (M-14): no validation or
    test label is seen. The untrained network has its 1000-way head, every other source the head it was trained with.

    Returns:
        Columns ``network, chain, seed, source_seed`` and the fields of ``TransferScore``.
    """
    data = open_dataset(config.finetune.dataset)
    loader = evaluation_loader(data, "train", config.finetune.augment.crop, engine)

    @cache
    def score(network: str, chain: str, seed: int) -> TransferScore:
        folder = study.pretrained_folder(network, chain)
        model, description = load_model(folder / "weights" / f"seed{seed}")
        missing = _no_labels(config, folder, chain, seed)
        found = score_source(model, description["heads"], loader, engine, unavailable=missing)
        console.print(f"scored {network} · {chain} · seed {seed}")
        return found

    rows = []
    for network, chain, seed in product(config.networks, config.chains, config.seeds):
        source = study.source_seed(config, chain, seed)
        names = {"network": network, "chain": chain, "seed": seed, "source_seed": source}
        rows.append(names | asdict(score(network, chain, source)))
    return pd.DataFrame(rows)


def _no_labels(config: AttentiveTransferConfig, folder: Path, chain: str, seed: int) -> str:
    """Return why a source has no label head of its own, or nothing when it has one."""
    if config.recipe(chain) is not None:
        return f"{chain} ends self-supervised: its head was never trained"
    ready_made = folder / "records" / f"seed{seed}" / "ready_made.json"
    if ready_made.exists() and any(key.startswith("head.") for key in read_json(ready_made)["kept"]):
        return "the ready-made weights have no head for this network's labels"
    return ""
