"""Tasks that learn from labels: exclusive classes, and several findings at once."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medtransfer.losses.classification import cross_entropy, masked_bce
from medtransfer.models.heads import Head
from medtransfer.training.task import Batch, Losses, NetworkTask


class SupervisedTask(NetworkTask):
    """Single-label classification with cross-entropy; its head ``label`` gives class probabilities.

    With ``class_weight`` ``[classes]`` the cross-entropy is a weighted mean.
    """

    def __init__(self, model: nn.Module, classes: Sequence[str], *, class_weight: Tensor | None = None) -> None:
        super().__init__(model, {"label": Head(outputs=tuple(classes), activation="softmax", kind="probability")})
        self.class_weight = class_weight

    def losses(self, batch: Batch) -> Losses:
        """Return ``total``, the mean cross-entropy in nats of ``batch['image']`` against ``batch['target']``."""
        logits = self.module(batch["image"])
        return {"total": cross_entropy(logits, batch["target"], class_weight=self.class_weight)}


class MultiLabelTask(NetworkTask):
    """Several findings at once, each present, absent or not known; its head ``findings`` gives their probabilities.

    ``positive_weight`` ``[findings]`` weights the positives of each finding in the binary cross-entropy.
    """

    def __init__(self, model: nn.Module, findings: Sequence[str], *, positive_weight: Tensor | None = None) -> None:
        super().__init__(model, {"findings": Head(outputs=tuple(findings), activation="sigmoid", kind="probability")})
        self.positive_weight = positive_weight

    def losses(self, batch: Batch) -> Losses:
        """Return ``total``, the mean binary cross-entropy in nats over what is known of ``target``."""
        target, weight = batch["target"], None
        if self.positive_weight is not None:
            weight = torch.where(target == 1, self.positive_weight.to(target), 1.0)
        return {"total": masked_bce(self.module(batch["image"]), target, weight)}
