"""Tasks that learn from labels: exclusive classes, and several findings at once."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medtransfer.losses.classification import cross_entropy, masked_bce
from medtransfer.models.heads import Head, activate
from medtransfer.training.optim import TrainConfig
from medtransfer.training.task import Batch, Group, Losses, one_group


class SupervisedTask:
    """Single-label classification with cross-entropy; outputs class probabilities.

    With ``class_weight`` ``[classes]`` the cross-entropy is a weighted mean.
    """

    def __init__(self, model: nn.Module, classes: Sequence[str], *, class_weight: Tensor | None = None) -> None:
        self.module, self.class_weight = model, class_weight
        self.head = Head(outputs=tuple(classes), activation="softmax", kind="probability")

    def losses(self, batch: Batch) -> Losses:
        """Return ``total``, the mean cross-entropy in nats of ``batch['image']`` against ``batch['target']``."""
        logits = self.module(batch["image"])
        return {"total": cross_entropy(logits, batch["target"], class_weight=self.class_weight)}

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``probability`` float32 ``[batch, classes]``."""
        return {"probability": activate(self.module(batch["image"]), self.heads())["label"]}

    def groups(self, config: TrainConfig) -> list[Group]:
        """Return one group."""
        return one_group(self.module, config)

    def after_step(self, progress: float) -> None:
        """Nothing to do."""

    def exported(self) -> nn.Module:
        """Return the network."""
        return self.module

    def heads(self) -> dict[str, Head]:
        """Return ``label``, exclusive classes."""
        return {"label": self.head}


class MultiLabelTask:
    """Several findings at once, each present, absent or not known; outputs the probability of each.

    ``positive_weight`` ``[findings]`` weights the positives of each finding in the binary cross-entropy.
    """

    def __init__(self, model: nn.Module, findings: Sequence[str], *, positive_weight: Tensor | None = None) -> None:
        self.module, self.positive_weight = model, positive_weight
        self.head = Head(outputs=tuple(findings), activation="sigmoid", kind="probability")

    def losses(self, batch: Batch) -> Losses:
        """Return ``total``, the mean binary cross-entropy in nats over what is known of ``target``."""
        target, weight = batch["target"], None
        if self.positive_weight is not None:
            weight = torch.where(target == 1, self.positive_weight.to(target), 1.0)
        return {"total": masked_bce(self.module(batch["image"]), target, weight)}

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``probability`` float32 ``[batch, findings]``."""
        return {"probability": activate(self.module(batch["image"]), self.heads())["findings"]}

    def groups(self, config: TrainConfig) -> list[Group]:
        """Return one group."""
        return one_group(self.module, config)

    def after_step(self, progress: float) -> None:
        """Nothing to do."""

    def exported(self) -> nn.Module:
        """Return the network."""
        return self.module

    def heads(self) -> dict[str, Head]:
        """Return ``findings``, which do not exclude each other."""
        return {"findings": self.head}
