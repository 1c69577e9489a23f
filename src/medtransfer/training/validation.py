"""What is measured on validation rows while a fit runs: scores, and the state of ATTN layers."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from medtransfer.data.loaders import Loader
from medtransfer.data.packed import PackedDataset
from medtransfer.models.classifier import Classifier, attention_report
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
        predicted = predict(task, loader, engine)
        metrics = classification_metrics(predicted["label"], predicted["target"], data.meta.classes, positive=positive)
        return metrics | attention_metrics(task.module, loader, engine)

    return validate


def multilabel_validation(
    data: PackedDataset, crop: int, engine: Engine, *, findings: Sequence[str]
) -> Callable[[Task], dict[str, float]]:
    """Return a function that scores a task of several findings on the validation split."""
    loader = evaluation_loader(data, "val", crop, engine, outputs=findings)

    def validate(task: Task) -> dict[str, float]:
        predicted = predict(task, loader, engine)
        return multilabel_metrics(predicted["findings"], predicted["target"], findings)

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
