"""The loop. Order, augmentation and dropout are functions of (seed, step), so a resumed fit equals a straight one bit for bit."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medtransfer.data.loaders import Loader, counter_seed
from medtransfer.errors import ConfigError, TrainingError
from medtransfer.tracking.tracker import Tracker
from medtransfer.training.engine import Engine
from medtransfer.training.optim import TrainConfig, build_optimizer, schedule_factor
from medtransfer.training.progress import Bar, console
from medtransfer.training.state import (
    load_state,
    optimizer_tensors,
    restore_optimizer,
    save_state,
    snapshot,
    with_prefix,
    without_prefix,
)
from medtransfer.training.task import Batch, Losses, Task

Validate = Callable[[], dict[str, float]]


@dataclass
class Progress:
    """Everything about a fit that is not a tensor; saved and resumed as it stands."""

    step: int = 0
    best: dict[str, float] | None = None
    best_step: int = 0
    stale: int = 0
    plateau_factor: float = 1.0
    plateau_stale: int = 0
    seconds: float = 0.0
    stopped: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What a finished fit says about itself; the task's module holds the selected weights."""

    metrics: dict[str, float]
    best_step: int
    steps: int
    seconds: float
    history: list[dict[str, float]]


class Fit:
    """One fit of one task. ``run`` trains from the newest resume file to the end of the budget.

    Args:
        task: what is trained.
        loaders: one loader, or several by name whose batches reach the task together.
        config: budget, optimiser, schedule, selection.
        engine: device, precision, distribution.
        tracker: receives metrics once a validation.
        scratch: folder of the resume files of this fit.
        seed: seeds dropout and everything else drawn during a step.
        validate: returns validation metrics; called in evaluation mode on every process.
        title: shown beside the progress bar.
    """

    def __init__(
        self,
        task: Task,
        loaders: Loader | Mapping[str, Loader],
        config: TrainConfig,
        *,
        engine: Engine,
        tracker: Tracker,
        scratch: Path,
        seed: int,
        validate: Validate | None = None,
        title: str = "fit",
    ) -> None:
        if config.selection and validate is None:
            raise ConfigError(f"{title}: selection by {config.selection.metric} needs a validation split; there is none")
        self.task, self.config, self.engine, self.tracker = task, config, engine, tracker
        self.scratch, self.seed, self.validate, self.title = scratch, seed, validate, title
        self.loaders = loaders if isinstance(loaders, Mapping) else {"": loaders}
        main = next(iter(self.loaders.values()))
        self.period = config.validate_every if config.steps else config.validate_every * main.steps
        self.total = config.steps or (config.epochs or 0) * main.steps
        self.images_per_step = sum(loader.batch_size for loader in self.loaders.values())
        task.module = engine.place(task.module)
        self.groups = task.groups(config)
        if not any(group.parameters for group in self.groups):
            raise TrainingError(f"{title}: every parameter is frozen; nothing is left to train")
        self.optimizer = build_optimizer(self.groups, config.optimizer)
        self.scaler = engine.scaler()
        self.step_module = engine.wrap(_Step(task))
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self.sums: dict[str, Tensor] = {}

    def run(self) -> FitResult:
        """Train to the end of the budget or to early stopping and leave the selected weights in the module."""
        self._resume()
        state, saved = self.progress, time.monotonic()
        begun, begun_at, window = time.monotonic() - state.seconds, state.step, time.monotonic()
        batches = {name: _stream(loader, state.step) for name, loader in self.loaders.items()}
        with Bar(self.title, self.total, state.step) as bar:
            while state.step < self.total and not state.stopped:
                self._step(self._next(batches))
                state.step += 1
                state.seconds = time.monotonic() - begun
                bar.advance()
                if state.step % self.period == 0 or state.step == self.total:
                    rate = self.images_per_step * (state.step - begun_at) / max(time.monotonic() - window, 1e-9)
                    self._validate(rate)
                    bar.report(state.step, state.history[-1], rate)
                    begun_at, window = state.step, time.monotonic()
                if time.monotonic() - saved >= self.config.save_every_s:
                    self._save()
                    saved = time.monotonic()
        for stream in batches.values():
            stream.close()
        if self.config.selection and self.best:
            self.task.module.load_state_dict(self.best)
        metrics = state.best or {k: v for k, v in state.history[-1].items() if k.startswith(("val/", "train/"))}
        return FitResult(
            metrics=metrics, best_step=state.best_step or state.step, steps=state.step, seconds=state.seconds, history=state.history
        )

    def _next(self, batches: Mapping[str, Iterator[Batch]]) -> Batch:
        drawn = {name: self.engine.batch(next(stream)) for name, stream in batches.items()}
        return drawn[""] if list(drawn) == [""] else drawn

    def _step(self, batch: Batch) -> None:
        """One update. Dropout is seeded by the step, so it needs no saved generator."""
        torch.manual_seed(counter_seed(self.seed, self.progress.step, self.engine.rank))
        set_mode(self.task.module, train=True, frozen_norm=self.config.frozen_norm)
        for group, entry in zip(self.groups, self.optimizer.param_groups, strict=True):
            entry["lr"] = group.lr * self._factor(group)
        self.optimizer.zero_grad(set_to_none=True)
        with self.engine.autocast():
            losses: Losses = self.step_module(batch)
        self.scaler.scale(losses["total"]).backward()
        if self.config.clip_norm:
            self.scaler.unscale_(self.optimizer)
            parameters = [p for group in self.groups for p in group.parameters]
            nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.task.after_step((self.progress.step + 1) / self.total)
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, torch.zeros((), device=value.device, dtype=torch.float64)) + value.detach()

    def _factor(self, group: Any) -> float:
        factor = schedule_factor(group.schedule, self.progress.step, self.total)
        return factor * (self.progress.plateau_factor if group.schedule.name == "plateau" else 1.0)

    def _validate(self, rate: float) -> None:
        """Log the mean losses of the period and the validation metrics; update selection, plateau and early stopping."""
        count = (self.progress.step - 1) % self.period + 1
        means = {_loss_name(name): float(total) / count for name, total in self.sums.items()}
        self.sums = {}
        self._require_finite(means)
        row = means | {f"train/lr_{group.name}": group.lr * self._factor(group) for group in self.groups}
        if self.validate:
            set_mode(self.task.module, train=False)
            row |= self.engine.share(self.validate())
            self._select(row)
        point = self.progress.step if self.config.steps else math.ceil(self.progress.step / self.period)
        self.progress.history.append({"step": float(self.progress.step)} | row)
        self.tracker.metrics(row | {"train/images_per_second": rate}, point)

    def _select(self, row: Mapping[str, float]) -> None:
        selection, schedule, state = self.config.selection, self.config.schedule, self.progress
        if selection is None:
            return
        if selection.is_better(row, state.best):
            state.best, state.best_step, state.stale, state.plateau_stale = dict(row), state.step, 0, 0
            self.best = snapshot(self.task.module)
            return
        state.stale += 1
        state.plateau_stale += 1
        if schedule.name == "plateau" and state.plateau_stale >= schedule.patience:
            state.plateau_factor *= schedule.factor
            state.plateau_stale = 0
        state.stopped = selection.patience is not None and state.stale >= selection.patience

    def _require_finite(self, means: Mapping[str, float]) -> None:
        bad = [name for name, value in means.items() if not math.isfinite(value)]
        if bad:
            lr = self.config.learning_rate
            raise TrainingError(
                f"{self.title}: {', '.join(bad)} is not a number at step {self.progress.step}; "
                f"the learning rate is {lr:g}: lower it, clip gradients (clip_norm) or use precision fp32"
            )

    def _save(self) -> None:
        self._require_finite({name: float(total) for name, total in self.sums.items()})
        if not self.engine.is_main:
            return
        tensors = with_prefix("module", self.task.module.state_dict()) | with_prefix("best", self.best)
        tensors |= optimizer_tensors(self.optimizer) | with_prefix("sums", self.sums)
        save_state(self.scratch, self.progress.step, tensors, vars(self.progress) | {"scaler": self.scaler.state_dict()})

    def _resume(self) -> None:
        loaded = load_state(self.scratch)
        if loaded is None:
            return
        tensors, scalars, remarks = loaded
        for remark in remarks:
            console.print(f"{self.title}: {remark}")
        self.scaler.load_state_dict(scalars.pop("scaler"))
        self.progress = Progress(**scalars)
        self.task.module.load_state_dict(without_prefix("module", tensors))
        restore_optimizer(self.optimizer, tensors)
        self.best = without_prefix("best", tensors)
        self.sums = {name: t.to(self.engine.device) for name, t in without_prefix("sums", tensors).items()}
        console.print(f"{self.title}: resumed at step {self.progress.step} of {self.total}")


class _Step(nn.Module):
    """The task's losses as a module, so that compilation and distribution wrap one forward pass."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.inner = task.module
        self._losses = task.losses

    def forward(self, batch: Batch) -> Losses:
        return self._losses(batch)


def set_mode(module: nn.Module, *, train: bool, frozen_norm: bool = False) -> None:
    """Set training or evaluation mode; ``frozen_norm`` keeps batch normalisation in evaluation mode while training."""
    module.train(train)
    if train and frozen_norm:
        for layer in module.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()


def _stream(loader: Loader, start: int) -> Iterator[Batch]:
    epoch, step = divmod(start, loader.steps)
    while True:
        yield from loader.epoch(epoch, step)
        epoch, step = epoch + 1, 0


def _loss_name(part: str) -> str:
    return "train/loss" if part == "total" else f"train/loss_{part}"
