"""The contract between the loop and what it trains: supervised, self-supervised and multi-task training are Tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from medtransfer.losses.classification import cross_entropy, masked_bce
from medtransfer.models.heads import Head, activate
from medtransfer.training.optim import ScheduleConfig, TrainConfig

Batch = Mapping[str, Any]
Losses = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Parameters that share a learning rate and a schedule.

    Attributes:
        name: shown in logs as ``lr_<name>``.
        parameters: the trainable parameters of this group.
        lr: peak learning rate.
        schedule: how the rate changes over the run.
        weight_decay: L2 penalty; ``None`` takes the optimiser's.
    """

    name: str
    parameters: list[nn.Parameter]
    lr: float
    schedule: ScheduleConfig
    weight_decay: float | None = None


class Task(Protocol):
    """What the loop needs: a module with all state, its losses on a batch, its outputs, its parameter groups.

    And what is left of it: the network that is stored and served, and what that network's outputs mean.
    """

    module: nn.Module

    def losses(self, batch: Batch) -> Losses:
        """Return scalars of one step; ``total`` is minimised, the others are logged."""
        ...

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return what prediction writes, each ``[batch, ...]``."""
        ...

    def groups(self, config: TrainConfig) -> list[Group]:
        """Return the parameter groups of the optimiser."""
        ...

    def after_step(self, progress: float) -> None:
        """Update state that no gradient reaches; ``progress`` runs from 0 to 1."""
        ...

    def exported(self) -> nn.Module:
        """Return the network that is stored and served; it maps images to the outputs that ``heads`` names."""
        ...

    def heads(self) -> dict[str, Head]:
        """Return the heads of the exported network."""
        ...


def one_group(module: nn.Module, config: TrainConfig) -> list[Group]:
    """Return all trainable parameters as a single group at the configuration's learning rate."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return [Group(name="all", parameters=parameters, lr=config.learning_rate, schedule=config.schedule)]


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

    With ``positive_weight`` ``[findings]`` positives count so many times in the binary cross-entropy.
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


class SelfSupervisedTask:
    """A self-supervised method whose forward pass returns its losses; outputs the encoder's features.

    The encoder has a head for ``classes`` that no loss reaches.
    """

    def __init__(self, method: nn.Module, classes: Sequence[str]) -> None:
        self.module = method
        self.head = Head(outputs=tuple(classes), activation="softmax", kind="probability", trained=False)

    def losses(self, batch: Batch) -> Losses:
        """Return the method's losses with ``total``."""
        losses: Losses = self.module(batch)
        return losses

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``features`` float32 ``[batch, width]`` of the query encoder."""
        encoder: Any = self.exported()
        return {"features": encoder.features(batch["image"]).float()}

    def groups(self, config: TrainConfig) -> list[Group]:
        """Return one group; the key encoder is frozen and so left out."""
        return one_group(self.module, config)

    def after_step(self, progress: float) -> None:
        """The method updates its key encoder and queue inside its forward pass."""

    def exported(self) -> nn.Module:
        """Return the query encoder."""
        return cast(nn.Module, self.module.encoder)

    def heads(self) -> dict[str, Head]:
        """Return ``label``, which was never trained."""
        return {"label": self.head}


class LossModule(nn.Module):
    """The task's losses as a module, so that compilation and distribution wrap one forward pass."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.inner = task.module
        self._losses = task.losses

    def forward(self, batch: Batch) -> Losses:
        """Return the task's losses."""
        return self._losses(batch)


def set_mode(module: nn.Module, *, train: bool, frozen_norm: bool = False) -> None:
    """Set training or evaluation mode; ``frozen_norm`` keeps batch normalisation in evaluation mode while training."""
    module.train(train)
    if train and frozen_norm:
        for layer in module.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()
