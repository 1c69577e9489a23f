"""The loop. Order, augmentation and dropout are functions of (seed, step): a resumed fit equals a straight one."""

import math
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from medtransfer.data.loaders import Loader, counter_seed
from medtransfer.errors import ConfigError, TrainingError
from medtransfer.tracking.tracker import Tracker
from medtransfer.training.engine import Engine
from medtransfer.training.optim import Group, TrainConfig, build_optimizer, schedule_factor
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
from medtransfer.training.task import Batch, Losses, LossModule, Task, set_mode

Validate = Callable[[], dict[str, float]]
Stream = Generator[Batch, None, None]


@dataclass
class Progress:
    """Everything about a fit that is not a tensor; saved and resumed as it is."""

    step: int = 0
    best: dict[str, float] | None = None
    best_step: int = 0
    stale: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    """How often the learning rate of a group with a plateau schedule has been lowered."""
    seconds: float = 0.0
    stopped: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What a finished fit reports; the task's module holds the selected weights."""

    metrics: dict[str, float]
    best_step: int
    steps: int
    epochs: float
    seconds: float
    history: list[dict[str, float]]


class Fit:
    """One fit of one task. ``run`` trains from the newest resume file to the end of the budget.

    Args:
        task: what is trained.
        loaders: one loader, or several by name whose batches reach the task together.
        config: budget, optimiser, schedule, selection.
        engine: device, precision, distribution.
        tracker: receives metrics once per validation.
        scratch: folder of the resume files of this fit.
        seed: seeds dropout and everything else drawn during a step.
        validate: returns validation metrics; called in evaluation mode on every process.
        title: printed beside the progress bar.
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
        self.task, self.config, self.engine, self.tracker = task, config, engine, tracker
        self.scratch, self.seed, self.validate, self.title = scratch, seed, validate, title
        self.loaders = loaders if isinstance(loaders, Mapping) else {"": loaders}
        self.epoch_steps = next(iter(self.loaders.values())).steps
        self.period = config.validate_every * (1 if config.steps else self.epoch_steps)
        self.total = config.steps or (config.epochs or 0) * self.epoch_steps
        self.images_per_step = sum(loader.batch_size for loader in self.loaders.values())
        task.module = engine.place(task.module)
        self.groups = task.groups(config)
        self._check()
        self.parameters = [p for group in self.groups for p in group.parameters]
        self.optimizer = build_optimizer(self.groups, config.optimizer)
        self.scaler = engine.scaler()
        self.step_module = engine.wrap(LossModule(task))
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self.sums: dict[str, Tensor] = {}
        self.window = (0, 0.0)

    def run(self) -> FitResult:
        """Train to the end of the budget or to early stopping and leave the selected weights in the module.

        Raises:
            TrainingError: a loss or a weight is not a number, or the selection metric has no value.
            ConfigError: the selection metric is not computed.
            CheckpointError: no resume file is whole, or one cannot be written.
        """
        self._resume()
        with ExitStack() as stack:
            streams = {name: stack.enter_context(closing(self._stream(name))) for name in self.loaders}
            self._train(stack.enter_context(self._bar()), streams)
        state = self.progress
        if self.best:
            self.task.module.load_state_dict(self.best)
        metrics = state.best or {k: v for k, v in state.history[-1].items() if k.startswith(("val/", "train/"))}
        return FitResult(
            metrics=metrics,
            best_step=state.best_step or state.step,
            steps=state.step,
            epochs=state.step / self.epoch_steps,
            seconds=state.seconds,
            history=state.history,
        )

    def _check(self) -> None:
        selection, config = self.config.selection, self.config
        if selection and self.validate is None:
            raise ConfigError(f"{self.title}: selection by {selection.metric} needs a validation split; there is none")
        if not any(group.parameters for group in self.groups):
            raise TrainingError(f"{self.title}: every parameter is frozen; unfreeze at least one to train")
        watching = [group.name for group in self.groups if group.schedule.name == "plateau"]
        if watching and config.selection is None:
            raise ConfigError(f"{self.title}: the plateau schedule of {watching[0]} watches a metric; set selection")

    def _bar(self) -> Bar:
        metric = self.config.selection.metric if self.config.selection else None
        return Bar(
            self.title,
            self.total,
            self.progress.step,
            images=self.images_per_step,
            metric=metric,
            quiet=not self.engine.is_main,
        )

    def _train(self, bar: Bar, streams: Mapping[str, Stream]) -> None:
        state, saved = self.progress, time.monotonic()
        begun = saved - state.seconds
        set_mode(self.task.module, train=True, frozen_norm=self.config.frozen_norm)
        self.window = (state.step, saved)
        while state.step < self.total and not state.stopped:
            self._step(self._next(streams))
            state.seconds = time.monotonic() - begun
            bar.advance()
            if state.step % self.period == 0 or state.step == self.total:
                rate = self._validate()
                bar.report(state.step, state.history[-1], rate)
                self.window = (state.step, time.monotonic())
            if time.monotonic() - saved >= self.config.save_every_s:
                before = time.monotonic()
                self._save()
                saved = time.monotonic()
                self.window = (self.window[0], self.window[1] + saved - before)

    def _stream(self, name: str) -> Stream:
        loader = self.loaders[name]
        epoch, step = divmod(self.progress.step, loader.steps)
        while True:
            yield from loader.epoch(epoch, step)
            epoch, step = epoch + 1, 0

    def _next(self, streams: Mapping[str, Stream]) -> Batch:
        drawn: dict[str, Batch] = {name: self.engine.batch(next(stream)) for name, stream in streams.items()}
        return drawn.get("", drawn)

    def _step(self, batch: Batch) -> None:
        """One update. Dropout is seeded by the step, so it needs no saved generator."""
        self.engine.seed(counter_seed(self.seed, self.progress.step, self.engine.rank))
        for group, entry in zip(self.groups, self.optimizer.param_groups, strict=True):
            entry["lr"] = group.lr * self._factor(group)
        self.optimizer.zero_grad(set_to_none=True)
        with self.engine.autocast():
            losses: Losses = self.step_module(batch)
        self.scaler.scale(losses["total"]).backward()  # type: ignore[no-untyped-call]
        if self.config.clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        self.engine.update(self.optimizer, self.scaler)
        self.progress.step += 1
        self.task.after_step(self.progress.step / self.total)
        for name, value in losses.items():
            if name not in self.sums:
                self.sums[name] = torch.zeros((), device=value.device, dtype=torch.float64)
            self.sums[name] += value.detach()

    def _factor(self, group: Group) -> float:
        factor = schedule_factor(group.schedule, self.progress.step, self.total)
        if group.schedule.name == "plateau":
            factor *= group.schedule.factor ** self.progress.drops.get(group.name, 0)
        return factor

    def _validate(self) -> float:
        """Log the mean losses of the period and the validation metrics; update selection, plateau and early stopping.

        Returns:
            The training images per second of the period.
        """
        state = self.progress
        row = self.engine.mean(self._mean_losses())
        self._require_finite(row)
        self.sums = {}
        # The means above waited for the device, so the clock counts all of the work and nothing of the validation.
        rate = self.images_per_step * (state.step - self.window[0]) / (time.monotonic() - self.window[1])
        rates = zip(self.groups, self.optimizer.param_groups, strict=True)
        row |= {f"train/lr_{group.name}": entry["lr"] for group, entry in rates}
        if self.validate:
            self.engine.agree(self.task.module)
            set_mode(self.task.module, train=False)
            row |= self.engine.share(self.validate())
            set_mode(self.task.module, train=True, frozen_norm=self.config.frozen_norm)
            self._select(row)
        point = state.step if self.config.steps else math.ceil(state.step / self.epoch_steps)
        state.history.append({"step": float(state.step)} | row)
        self.tracker.metrics(row | {"train/images_per_second": rate}, point)
        return rate

    def _select(self, row: Mapping[str, float]) -> None:
        selection, state = self.config.selection, self.progress
        if selection is None:
            return
        if selection.is_better(row, state.best):
            state.best, state.best_step, state.stale = dict(row), state.step, 0
            self.best = snapshot(self.task.module)
            return
        if state.best is None:
            raise TrainingError(
                f"{self.title}: {selection.metric} has no value on the validation split at step {state.step}, so no "
                "weights can be selected; give the split rows of every class or select by another metric"
            )
        state.stale += 1
        for group in self.groups:
            if group.schedule.name == "plateau" and state.stale % (group.schedule.patience + 1) == 0:
                state.drops[group.name] = state.drops.get(group.name, 0) + 1
        state.stopped = selection.patience is not None and state.stale >= selection.patience

    def _mean_losses(self) -> dict[str, float]:
        count = self._period_steps()
        return {_loss_name(name): float(total) / count for name, total in self.sums.items()}

    def _period_steps(self) -> int:
        return (self.progress.step - 1) % self.period + 1

    def _require_finite(self, losses: Mapping[str, float]) -> None:
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        if not bad and not torch.isfinite(nn.utils.get_total_norm([p.detach() for p in self.parameters])):
            bad = ["a weight"]
        if bad:
            raise TrainingError(
                f"{self.title}: {', '.join(bad)} is not a number at step {self.progress.step}, first in the last "
                f"{self._period_steps()} steps; the learning rate is {self.config.learning_rate:g}: lower it, "
                "clip gradients (clip_norm) or use precision fp32"
            )

    def _save(self) -> None:
        self._require_finite(self._mean_losses())
        if not self.engine.is_main:
            return
        tensors = with_prefix("module", self.task.module.state_dict()) | with_prefix("best", self.best)
        tensors |= optimizer_tensors(self.optimizer) | with_prefix("sums", self.sums)
        scalars = vars(self.progress) | {"scaler": self.scaler.state_dict()}
        save_state(self.scratch, self.progress.step, tensors, scalars)

    def _resume(self) -> None:
        # of several machines only the main process's has resume files, or the newest
        loaded = self.engine.share(load_state(self.scratch) if self.engine.is_main else None)
        if loaded is None:
            return
        tensors, scalars, remarks = loaded
        self.scaler.load_state_dict(scalars.pop("scaler"))
        self.progress = Progress(**scalars)
        self.task.module.load_state_dict(without_prefix("module", tensors))
        restore_optimizer(self.optimizer, tensors)
        self.best = without_prefix("best", tensors)
        self.sums = {name: t.to(self.engine.device) for name, t in without_prefix("sums", tensors).items()}
        if self.engine.is_main:
            for remark in (*remarks, f"resumed at step {self.progress.step} of {self.total}"):
                console.print(f"{self.title}: {remark}", soft_wrap=True, markup=False)


def _loss_name(part: str) -> str:
    return "train/loss" if part == "total" else f"train/loss_{part}"
