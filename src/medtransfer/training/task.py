"""The contract between the loop and what it trains: supervised, self-supervised and multi-task training are Tasks."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from medtransfer.models.heads import Head, activate
from medtransfer.models.inserted import InsertedLayer
from medtransfer.training.optim import Group, TrainConfig

Batch = Mapping[str, Any]
Losses = dict[str, Tensor]


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


def groups_of(module: nn.Module, config: TrainConfig) -> list[Group]:
    """Return all trainable parameters at the configuration's learning rate: one group.

    With ``inserted_lr_factor`` the parameters of inserted layers are a group of their own, at that many times the rate.
    """
    trainable = {id(p): p for p in module.parameters() if p.requires_grad}
    layers = [layer for layer in module.modules() if isinstance(layer, InsertedLayer)]
    apart = layers if config.inserted_lr_factor != 1 else []
    inserted = [p for layer in apart for p in layer.parameters() if trainable.pop(id(p), None) is not None]
    rate = config.learning_rate
    groups = [Group(name="all", parameters=[*trainable.values()], lr=rate, schedule=config.schedule)]
    if inserted:
        lr = rate * config.inserted_lr_factor
        groups.append(Group(name="inserted", parameters=inserted, lr=lr, schedule=config.schedule))
    return groups


class NetworkTask:
    """What tasks share whose module is the network itself: its trainable parameters, nothing after a step.

    Args:
        model: the network, trained and exported.
        heads: what its outputs mean.
    """

    def __init__(self, model: nn.Module, heads: Mapping[str, Head]) -> None:
        self.module, self._heads = model, dict(heads)

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return the scores of every head, float32 ``[batch, outputs]``."""
        return activate(self.module(batch["image"]), self._heads)

    def groups(self, config: TrainConfig) -> list[Group]:
        """Return the network's trainable parameters."""
        return groups_of(self.module, config)

    def after_step(self, progress: float) -> None:
        """Nothing to do."""

    def exported(self) -> nn.Module:
        """Return the network."""
        return self.module

    def heads(self) -> dict[str, Head]:
        """Return the heads."""
        return self._heads


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
