"""What needs no training of a network: logistic regression on a thumbnail, and on the features of a frozen base."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from medtransfer.audit.descriptors import thumbnail
from medtransfer.data.packed import PackedDataset
from medtransfer.data.windows import centre_crop
from medtransfer.evaluation.metrics import METRICS
from medtransfer.models.weights import load_model
from medtransfer.studies.visual_transfer import study
from medtransfer.studies.visual_transfer.config import VisualTransferConfig
from medtransfer.studies.visual_transfer.images import normalization_of, targets_of, view_of
from medtransfer.training.engine import Engine
from medtransfer.training.inference import collect
from medtransfer.training.loading import grey_images

SPLITS = ("train", "val", "test")
THUMBNAIL, FEATURES = "thumbnail", "frozen_features"
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse penalties that are compared on validation images."""

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


def floors(config: VisualTransferConfig, data: PackedDataset, engine: Engine) -> Iterator[tuple[str, Rows, Floats]]:
    """Yield name, manifest rows and probabilities of every floor, of validation and of test images."""
    targets = targets_of(data, config.positive)[:, 0]
    splits = {name: rows[~np.isnan(targets[rows])] for name in SPLITS for rows in [data.rows(name)]}
    kinds = {THUMBNAIL: {split: _thumbnails(data, rows, config.crop) for split, rows in splits.items()}}
    if config.floor and (study.base(config.floor).weights / "config.json").exists():
        kinds[FEATURES] = {split: _frozen(config, data, split, engine) for split in SPLITS}
    truth = {split: targets[rows].astype(np.int64) for split, rows in splits.items()}
    for name, features in kinds.items():
        probe = _fitted(features, truth)
        for split in SPLITS[1:]:
            yield name, splits[split], probe.predict_proba(features[split])[:, 1]


def _thumbnails(data: PackedDataset, rows: Rows, crop: int) -> Floats:
    return thumbnail((centre_crop(torch.from_numpy(grey_images(data, rows)), crop).numpy() / 255).astype(np.float32))


def _frozen(config: VisualTransferConfig, data: PackedDataset, split: str, engine: Engine) -> Floats:
    """Return the pooled features of the floor's base, in the order of the split's rows."""
    model, _ = load_model(study.base(config.floor).weights)
    loader = view_of(data, split, config, normalization_of(config, config.floor), engine)
    found = collect(
        engine.place(model), lambda batch: {"features": model.features(batch["image"]).float()}, loader, engine
    )
    return found["features"].astype(np.float64)


def _fitted(features: Mapping[str, Floats], truth: Mapping[str, Rows]) -> Any:
    """Fit on training images with every penalty; return the probe with the highest AUROC on validation images."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probes = [
        make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000)).fit(
            features["train"], truth["train"]
        )
        for strength in STRENGTHS
    ]
    return max(probes, key=lambda probe: METRICS["auroc"](truth["val"], probe.predict_proba(features["val"])[:, 1]))
