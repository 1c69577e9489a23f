"""``medtransfer register STUDY``: the fine-tuned network with the best validation AUROC becomes the champion."""

from argparse import Namespace
from typing import Any

from medtransfer import paths
from medtransfer.errors import DataError
from medtransfer.files import read_json, write_json
from medtransfer.params import load_params
from medtransfer.studies.attentive_transfer import study
from medtransfer.tracking.registry import register_model


def run(options: Namespace) -> None:
    """Register the champion and write ``out/<study>/champion.json``."""
    params = load_params()
    card = read_json(paths.METRICS / f"{options.study}.json")
    best = _best(card, params.attentive_transfer.finetune.dataset)
    folder = study.finetuned_folder(best["network"], best["chain"])
    seed = f"seed{best['seed']}"
    tags = {key: str(best[key]) for key in ("network", "chain", "seed")} | {"val_auroc": f"{best['val_auroc']:.4f}"}
    version = register_model(
        folder / "weights" / seed,
        records=folder / "records" / seed,
        name=params.registry.model,
        alias=params.registry.alias,
        tags=tags | {"study": options.study, "profile": params.profile},
        why=f"best validation AUROC of {options.study}",
    )
    record = read_json(folder / "records" / seed / "run.json")
    champion = best | {"model": params.registry.model, "alias": params.registry.alias, "version": version}
    write_json(paths.OUT / options.study / "champion.json", champion | {"run_key": record["run_key"]})


def _best(card: dict[str, dict[str, Any]], dataset: str) -> dict[str, Any]:
    """Return network, chain, seed and validation AUROC of the best single fit; test rows are not looked at."""
    found = [
        {"network": entry["variant"], "chain": entry["condition"], "seed": seed, "val_auroc": value}
        for entry in card.values()
        if entry["split"] == "val" and entry["dataset"] == dataset
        for seed, value in zip(entry["seeds"], entry["probability"]["metrics"]["auroc"]["per_seed"], strict=True)
        if value is not None
    ]
    if not found:
        raise DataError(f"{dataset}: no fit has a validation AUROC; check that its val split holds both classes")
    return max(found, key=lambda fit: fit["val_auroc"])
