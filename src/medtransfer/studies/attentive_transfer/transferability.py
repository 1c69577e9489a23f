"""What every source model predicts about the target before fine-tuning: LEEP, NCE and LogME at each transition."""

from dataclasses import asdict
from functools import cache
from itertools import product

import pandas as pd

from medtransfer.evaluation.transferability import TransferScore
from medtransfer.files import read_json
from medtransfer.models.weights import load_model
from medtransfer.paths import FitPaths
from medtransfer.studies.attentive_transfer import study
from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig
from medtransfer.training.engine import Engine
from medtransfer.training.features import score_source
from medtransfer.training.initialization import READY_MADE
from medtransfer.training.loading import evaluation_loader, open_dataset
from medtransfer.training.progress import console


def transferability(config: AttentiveTransferConfig, engine: Engine) -> pd.DataFrame:
    """Return one row per network, chain and fine-tuning seed, with the scores of its source.

    Scores use the training split of the target in the evaluation view of fine-tuning (M-14): no validation or
    test label is read. The untrained network has its 1000-way head, every other source the head it was trained with.

    Returns:
        Columns ``network, chain, seed, source_seed`` and the fields of ``TransferScore``.
    """
    data = open_dataset(config.finetune.dataset)
    loader = evaluation_loader(data, "train", config.finetune.augment.crop, engine)

    @cache
    def score(network: str, chain: str, seed: int) -> TransferScore:
        source = study.source(network, chain, seed)
        model, description = load_model(source.weights)
        scores = score_source(model, description["heads"], loader, engine, unavailable=_no_labels(config, source))
        console.print(f"scored {network} · {chain} · seed {seed}")
        return scores

    rows = []
    for (network, chain), seed in product(config.compared, config.seeds):
        source = study.source_seed(config, chain, seed)
        names = {"network": network, "chain": chain, "seed": seed, "source_seed": source}
        rows.append(names | asdict(score(network, chain, source)))
    return pd.DataFrame(rows)


def _no_labels(config: AttentiveTransferConfig, source: FitPaths) -> str:
    """Return why a source has no label head of its own; empty when it has one."""
    if config.recipe(source.condition) is not None:
        return f"{source.condition} ends with self-supervision: its head was never trained"
    ready_made = source.records / READY_MADE
    if ready_made.exists() and any(key.startswith("head.") for key in read_json(ready_made)["kept"]):
        return "the ready-made weights have no head for this network's labels"
    return ""
