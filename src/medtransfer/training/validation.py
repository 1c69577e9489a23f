"""What is measured on validation rows while a fit runs: scores, the state of ATTN layers, signs of collapse."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from medtransfer.data.loaders import Loader
from medtransfer.data.packed import PackedDataset
from medtransfer.models.classifier import Classifier, attention_report
from medtransfer.ssl import health
from medtransfer.training.engine import Engine
from medtransfer.training.inference import classification_metrics, multilabel_metrics, predict
from medtransfer.training.loading import evaluation_loader
from medtransfer.training.task import Task


def supervised_validation(
    data: PackedDataset, crop: int, engine: Engine, *, positive: str | None
) -> Callable[[Task], dict[str, float]]:
    """Return a function that scores a task on the validation split and looks into its ATTN layers."""
    loader = evaluation_loader(data, "val", crop, engine)

    def validate(task: Task) -> dict[str, float]:
        found = predict(task, loader, engine)
        metrics = classification_metrics(found["probability"], found["target"], data.meta.classes, positive=positive)
        return metrics | attention_metrics(task.module, loader, engine)

    return validate


def multilabel_validation(
    data: PackedDataset, crop: int, engine: Engine, *, findings: Sequence[str]
) -> Callable[[Task], dict[str, float]]:
    """Return a function that scores a task of several findings on the validation split."""
    loader = evaluation_loader(data, "val", crop, engine, findings=findings)

    def validate(task: Task) -> dict[str, float]:
        found = predict(task, loader, engine)
        return multilabel_metrics(found["probability"], found["target"], findings)

    return validate


def probe_validation(
    data: PackedDataset, crop: int, engine: Engine, *, views: Loader, positive: str, neighbours: int
) -> Callable[[Task], dict[str, float]]:
    """Return a function that watches an encoder: a kNN probe on validation labels and signs of collapse.

    ``views`` is the training loader, whose first batch gives the pairs for the alignment.
    """
    loaders = {split: evaluation_loader(data, split, crop, engine) for split in ("train", "val")}

    def validate(task: Task) -> dict[str, float]:
        found = {split: predict(task, loader, engine) for split, loader in loaders.items()}
        features = {split: torch.from_numpy(parts["features"]) for split, parts in found.items()}
        labels = torch.from_numpy(found["train"]["target"])
        classes = data.meta.classes
        probability = health.knn_probe(
            features["train"], labels, features["val"], classes=len(classes), neighbours=min(neighbours, len(labels))
        )
        spread = health.feature_spread(features["val"])
        metrics = classification_metrics(probability.numpy(), found["val"]["target"], classes, positive=positive)
        metrics |= {
            "health/spread": spread,
            "health/alignment": _alignment(task, views, engine),
            "health/uniformity": health.uniformity(features["val"]),
            "health/collapsed": float(health.collapsed(spread)),
        }
        return metrics | attention_metrics(task.module.encoder, loaders["val"], engine)

    return validate


def attention_metrics(model: Any, loader: Loader, engine: Engine) -> dict[str, float]:
    """Return |gamma| and entropy of every ATTN layer on the first batch, as ``attention/<measure>_<site>``."""
    if not isinstance(model, Classifier):
        return {}
    images = engine.batch(loader.batch(0, 0))["image"]
    with torch.inference_mode(), engine.autocast():
        report = attention_report(model, images)
    return {
        f"attention/{measure}_{site}": value for site, values in report.items() for measure, value in values.items()
    }


def _alignment(task: Task, views: Loader, engine: Engine) -> float:
    """Return the mean squared distance of the features of two views of the same pictures."""
    batch = engine.batch(views.batch(0, 0))
    with torch.inference_mode(), engine.autocast():
        pair = [task.outputs({"image": batch[view]})["features"] for view in ("query", "key")]
    return health.alignment(*pair)
