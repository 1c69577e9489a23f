"""Class probabilities and the pooled features they come from, in one forward pass."""

from typing import cast

import torch
from torch import Tensor

from medtransfer.models.classifier import Classifier
from medtransfer.training.task import Batch, SupervisedTask


class FeatureTask(SupervisedTask):
    """A classifier that gives its features away beside its probabilities: what transferability scores read."""

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``probability`` float32 ``[batch, classes]`` and ``features`` float32 ``[batch, width]``."""
        model = cast(Classifier, self.module)
        features = model.features(batch["image"])
        return {"probability": torch.softmax(model.head(features).float(), dim=1), "features": features.float()}
