"""What the study's networks cost, and how far fine-tuning moved them from their start, by depth."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medtransfer.data.loaders import Loader
from medtransfer.data.packed import PackedDataset
from medtransfer.evaluation.similarity import linear_cka
from medtransfer.models.block_features import block_features
from medtransfer.models.classifier import Classifier, build_network
from medtransfer.models.cost import measure_costs
from medtransfer.models.weights import load_into, load_model
from medtransfer.studies.truncated_transfer import study
from medtransfer.studies.truncated_transfer.config import Condition, TruncatedTransferConfig
from medtransfer.studies.truncated_transfer.predictions import fitted
from medtransfer.tracking.lineage import collect_lineage
from medtransfer.training.engine import Engine
from medtransfer.training.loading import open_dataset
from medtransfer.training.progress import console

IMAGES = 96
"""Test images whose features are compared; fewer where there are fewer."""

Features = dict[str, NDArray[np.float32]]
"""Block → features ``[images, channels]``."""


def costs(config: TruncatedTransferConfig, engine: Engine) -> dict[str, Any]:
    """Return size, work and times of every network, and where they were measured, fit for JSON.

    Latency is that of one image; a step has the training's batch.
    """
    side, batch = config.augment.crop, config.train.batch_size
    weights: dict[str, Path] = {}
    for fit in fitted(config):
        weights.setdefault(fit.network, fit.weights)
    models = {name: load_model(folder)[0] for name, folder in weights.items()}
    for model in models.values():
        engine.place(model)
    measured = measure_costs(models, side, batch=batch)
    console.print(f"measured {', '.join(measured)}", markup=False)
    where = {"device": engine.device.type, "threads": torch.get_num_threads(), "precision": "fp32"}
    return {
        "machine": collect_lineage()["machine"] | where,
        "side": side,
        "batch": batch,
        "networks": {name: asdict(cost) for name, cost in measured.items()},
    }


def similarity(config: TruncatedTransferConfig, engine: Engine) -> dict[str, Any]:
    """Return unbiased linear CKA between start and fine-tuned network, block by block, of all that start from weights.

    The images are the same for all: test images, labelled or not, the first by a hash of their id.

    Returns:
        ``images`` by data set, and ``fits``: one row per fit with ``blocks``, None where CKA is not defined.
    """

    @cache
    def images(dataset: str) -> torch.Tensor:
        return _test_images(open_dataset(dataset), config.augment.crop, engine)

    @cache
    def before(variant: str, dataset: str, seed: int) -> Features:
        model = build_network(config.structure(variant), classes=1, seed=seed)
        weights = study.source(config.backbone(variant)).weights
        load_into(model, weights, head=False)
        return _features(model, images(dataset), engine)

    fits = []
    for variant, condition, seed in _transferred(config):
        dataset = config.tasks[condition.task].dataset
        model, _ = load_model(study.fitted(variant, condition.name, seed).weights)
        start, now = before(variant, dataset, seed), _features(model, images(dataset), engine)
        alike = {block: linear_cka(start[block], now[block], unbiased=True) for block in start}
        blocks = {block: None if math.isnan(value) else value for block, value in alike.items()}
        fits.append({"variant": variant, "condition": condition.name, "seed": seed, "blocks": blocks})
        console.print(f"compared {variant} {condition.name} seed {seed} with its start", markup=False)
    sets = dict.fromkeys(task.dataset for task in config.tasks.values())
    return {"images": {name: len(images(name)) for name in sets} if fits else {}, "fits": fits}


def _transferred(config: TruncatedTransferConfig) -> Iterator[tuple[str, Condition, int]]:
    """Yield variant, condition and seed of every fit that starts from weights."""
    for variant in config.variants:
        if config.variant(variant).strategy != "random":
            yield from ((variant, condition, seed) for condition in config.conditions() for seed in config.seeds)


def _features(model: Classifier, images: torch.Tensor, engine: Engine) -> Features:
    engine.place(model)
    with torch.no_grad():
        features = block_features(model, images)
    return {block: values.cpu().numpy() for block, values in features.items()}


def _test_images(data: PackedDataset, crop: int, engine: Engine) -> torch.Tensor:
    """Return test images in the evaluation view ``[N, 3, crop, crop]``."""
    rows = data.rows(split="test", labelled=False)
    marks = [hashlib.sha256(image.encode()).digest() for image in data.manifest["image_id"].iloc[rows]]
    chosen = rows[sorted(range(len(rows)), key=marks.__getitem__)[:IMAGES]]
    loader = Loader(data, chosen, batch_size=IMAGES, crop=crop, seed=0, train=False, device=engine.device)
    images: torch.Tensor = engine.batch(loader.batch(0, 0))["image"]
    return images
