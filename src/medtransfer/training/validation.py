"""What is measured on validation rows while a fit runs: scores, and the state of inserted layers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from medtransfer.data.loaders import Loader
from medtransfer.data.packed import PackedDataset
from medtransfer.evaluation.interventions import probability_change
from medtransfer.models.classifier import Classifier, inserted_layers, inserted_off, layer_report
from medtransfer.training.engine import Engine
from medtransfer.training.inference import classification_metrics, multilabel_metrics, predict
from medtransfer.training.loading import evaluation_loader
from medtransfer.training.task import Task


def supervised_validation(
    data: PackedDataset, crop: int, engine: Engine, *, positive: str | None
) -> Callable[[Task], dict[str, float]]:
    """Return a function that scores a task on the validation split and looks into its inserted layers."""
    loader = evaluation_loader(data, "val", crop, engine)

    def validate(task: Task) -> dict[str, float]:
        predicted = predict(task, loader, engine)
        metrics = classification_metrics(predicted["label"], predicted["target"], data.meta.classes, positive=positive)

        def again() -> np.ndarray:
            return predict(task, loader, engine)["label"]

        return metrics | inserted_metrics(task.module, loader, engine, predicted["label"], again)

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


def inserted_metrics(
    model: Any, loader: Loader, engine: Engine, probability: np.ndarray, again: Callable[[], np.ndarray]
) -> dict[str, float]:
    """Return the state of a network's inserted layers as metrics ``inserted/…``; none where there are no layers.

    ``gamma_abs_<site>`` and, of ATTN layers, ``entropy_<site>`` on the first batch; ``gamma_max`` and ``entropy``, the
    largest and the mean over layers; ``change`` and ``change_max``, how far probabilities move on average and at most
    when the layers are switched off.

    Args:
        model: the network, or anything without inserted layers.
        loader: the validation images.
        engine: device and precision.
        probability: ``[images, classes]`` with the layers as they are.
        again: predicts the same images once more; called with the layers switched off.
    """
    if not isinstance(model, Classifier) or not inserted_layers(model):
        return {}
    images = engine.batch(loader.batch(0, 0))["image"]
    with torch.inference_mode(), engine.autocast():
        report = layer_report(model, images)
    with inserted_off(model):
        mean, largest = probability_change(probability, again())
    values = {f"{measure}_{site}": value for site, of_site in report.items() for measure, value in of_site.items()}
    values["gamma_max"] = max(of_site["gamma_abs"] for of_site in report.values())
    entropies = [of_site["entropy"] for of_site in report.values() if "entropy" in of_site]
    values |= {"entropy": float(np.mean(entropies))} if entropies else {}
    return {f"inserted/{name}": value for name, value in (values | {"change": mean, "change_max": largest}).items()}
