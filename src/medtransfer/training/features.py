"""Class probabilities and the pooled features they come from, in one forward pass, and what they say of a source."""

from typing import cast

import torch
from torch import Tensor

from medtransfer.data.loaders import Loader
from medtransfer.evaluation.transferability import TransferScore, transfer_score
from medtransfer.models.classifier import Classifier
from medtransfer.training.engine import Engine
from medtransfer.training.inference import predict
from medtransfer.training.task import Batch, SupervisedTask


class FeatureTask(SupervisedTask):
    """A classifier that gives its features away beside its probabilities: what transferability scores read."""

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``probability`` float32 ``[batch, classes]`` and ``features`` float32 ``[batch, width]``."""
        model = cast(Classifier, self.module)
        features = model.features(batch["image"])
        return {"probability": torch.softmax(model.head(features).float(), dim=1), "features": features.float()}


def score_source(model: Classifier, loader: Loader, engine: Engine, *, unavailable: str = "") -> TransferScore:
    """Return what a source network knows of the loader's classes before it is fine-tuned.

    Args:
        model: the source network with its own head; it is moved to the engine's device.
        loader: labelled target images in the evaluation view.
        engine: device and precision.
        unavailable: why the head has no labels of its own, empty when it has: then no score reads its probabilities.
    """
    found = predict(FeatureTask(engine.place(model)), loader, engine)
    probabilities = None if unavailable else found["probability"]
    classes = len(loader.data.meta.classes)
    return transfer_score(found["features"], found["target"], probabilities, classes=classes, unavailable=unavailable)
