"""Optimisers, schedules and the configuration of one fit. Learning rates are pure functions of the step."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from medtransfer.config import Config
from medtransfer.training.selection import SelectionConfig


class SGDConfig(Config):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"] = "sgd"
    lr: PositiveFloat
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: NonNegativeFloat = 1e-4
    reference_batch: PositiveInt | None = None
    """With a number, the rate used is ``lr × batch_size ÷ reference_batch`` (linear scaling rule)."""


class AdamConfig(Config):
    """Adam, with decoupled weight decay when ``name`` is ``adamw``."""

    name: Literal["adam", "adamw"] = "adam"
    lr: PositiveFloat
    weight_decay: NonNegativeFloat = 0.0
    reference_batch: PositiveInt | None = None


class LARSConfig(Config):
    """Layer-wise adaptive rates, SimCLR's optimiser: ``lr`` 0.3 at ``reference_batch`` 256 (Chen et al. 2020, 2.2)."""

    name: Literal["lars"] = "lars"
    lr: PositiveFloat
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: NonNegativeFloat = 1e-6
    trust: PositiveFloat = 0.001
    """The coefficient eta of You et al. 2017, Eq. 6."""
    reference_batch: PositiveInt | None = None


OptimizerConfig = Annotated[SGDConfig | AdamConfig | LARSConfig, Field(discriminator="name")]


class ConstantSchedule(Config):
    """The same rate throughout, after an optional linear warm-up."""

    name: Literal["constant"] = "constant"
    warmup_steps: NonNegativeInt = 0


class MilestoneSchedule(Config):
    """Multiply by ``gamma`` when each milestone (a fraction of the run between 0 and 1) is passed."""

    name: Literal["milestones"] = "milestones"
    at: tuple[Annotated[float, Field(gt=0, lt=1)], ...]
    gamma: PositiveFloat = 0.1
    warmup_steps: NonNegativeInt = 0


class CosineSchedule(Config):
    """Half a cosine from the full rate to ``final`` times the rate."""

    name: Literal["cosine"] = "cosine"
    final: float = Field(0.0, ge=0, le=1)
    warmup_steps: NonNegativeInt = 0


class PlateauSchedule(Config):
    """Multiply by ``factor`` when more than ``patience`` validations in a row have not improved the selection.

    Counted as torch's ``ReduceLROnPlateau`` counts with ``threshold`` 0: with 2 the third one lowers the rate and the
    count begins again. What an improvement is, ``SelectionConfig.is_better`` says.
    """

    name: Literal["plateau"] = "plateau"
    factor: PositiveFloat = 0.5
    patience: NonNegativeInt = 5
    warmup_steps: NonNegativeInt = 0


ScheduleConfig = Annotated[
    ConstantSchedule | MilestoneSchedule | CosineSchedule | PlateauSchedule, Field(discriminator="name")
]


class TrainConfig(Config):
    """One fit: budget, batch, optimiser, schedule and selection. Exactly one of ``epochs`` and ``steps`` is given."""

    epochs: PositiveInt | None = None
    steps: PositiveInt | None = None
    validate_every: PositiveInt = 1
    """In epochs, or in steps when the budget is in steps."""
    batch_size: PositiveInt
    optimizer: OptimizerConfig
    schedule: ScheduleConfig = CosineSchedule()
    clip_norm: PositiveFloat | None = None
    frozen_norm: bool = False
    """Keep batch normalisation in evaluation mode: statistics and outputs of the pretrained network stay."""
    inserted_lr_factor: PositiveFloat = 1.0
    """Learning rate of inserted layers relative to that of the rest."""
    selection: SelectionConfig | None = None
    """Without it the last weights are kept."""
    save_every_s: NonNegativeFloat = 30.0
    """Seconds between resume files; 0 writes one after every step."""

    @model_validator(mode="after")
    def _one_budget(self) -> "TrainConfig":
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of epochs and steps")
        if self.schedule.name == "plateau" and self.selection is None:
            raise ValueError("a plateau schedule needs a selection metric to watch")
        if self.batch_size == 1 and not self.frozen_norm:
            raise ValueError(
                "batch_size is 1, expected at least 2: batch norm cannot normalise one image alone; raise it"
            )
        return self

    @property
    def learning_rate(self) -> float:
        """Peak learning rate, after the linear scaling rule when it is on."""
        reference = self.optimizer.reference_batch
        return self.optimizer.lr * (self.batch_size / reference if reference else 1.0)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Parameters that share a learning rate and a schedule.

    Attributes:
        name: tracked as ``lr_<name>``.
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


class LARS(Optimizer):
    """Stochastic gradient descent whose rate follows each layer's ratio of weights to gradient.

    You et al. 2017, Algorithm 1: with d = gradient + weight_decay x w, a tensor takes the local rate
    trust x |w| / |d|; v <- momentum x v + lr x local x d; w <- w - v. Biases and the weights of normalisation layers,
    which are the tensors of one dimension, take neither decay nor local rate, as in SimCLR. Where |w| or |d| is 0 the
    local rate is 1.

    Args:
        params: parameter groups; each may have its own ``lr`` and ``weight_decay``.
        lr: global rate.
        momentum: factor on the last update.
        weight_decay: L2 penalty.
        trust: eta, how far a layer may move relative to its length.
    """

    def __init__(self, params: ParamsT, *, lr: float, momentum: float, weight_decay: float, trust: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, w: nn.Parameter, update: Tensor, group: dict[str, Any]) -> None:
        if w.ndim > 1:
            update = torch.add(update, w, alpha=group["weight_decay"])
            # on the device throughout: reading a norm would wait for the accelerator at every layer
            local = group["trust"] * w.norm() / update.norm()
            update.mul_(torch.where((local > 0) & local.isfinite(), local, 1.0))
        state = self.state[w]
        if not state:
            state["velocity"] = torch.zeros_like(w)
        w.sub_(state["velocity"].mul_(group["momentum"]).add_(update, alpha=group["lr"]))


def build_optimizer(groups: list[Group], config: OptimizerConfig) -> Optimizer:
    """Return the optimiser over the groups; ``lr`` of each group is set before every step."""
    decay = config.weight_decay
    params = [
        {"params": g.parameters, "lr": g.lr, "weight_decay": decay if g.weight_decay is None else g.weight_decay}
        for g in groups
    ]
    # fused: one pass over all weights instead of several
    if isinstance(config, SGDConfig):
        return torch.optim.SGD(params, lr=config.lr, momentum=config.momentum, fused=True)
    if isinstance(config, LARSConfig):
        return LARS(params, lr=config.lr, momentum=config.momentum, weight_decay=decay, trust=config.trust)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(params, lr=config.lr, fused=True)


def schedule_factor(schedule: ScheduleConfig, step: int, total: int) -> float:
    """Return the factor on the learning rate at a 0-based step of ``total`` steps; plateau drops come on top."""
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps
    progress = step / max(total, 1)
    if schedule.name == "milestones":
        return float(schedule.gamma ** sum(progress >= at for at in schedule.at))
    if schedule.name == "cosine":
        span = max(total - schedule.warmup_steps, 1)
        cosine = 0.5 * (1 + math.cos(math.pi * (step - schedule.warmup_steps) / span))
        return schedule.final + (1 - schedule.final) * cosine
    return 1.0
