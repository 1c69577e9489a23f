"""The fits of a comparison: every candidate and seed under one budget, by the loop that all studies use."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from medtransfer.comparing.candidates import Candidate, start_hash, weights_of
from medtransfer.comparing.question import Question
from medtransfer.config import Config, Name
from medtransfer.data.loaders import Loader
from medtransfer.data.packed import PackedDataset
from medtransfer.data.transforms import AugmentConfig
from medtransfer.errors import ConfigError
from medtransfer.models.classifier import build_network
from medtransfer.models.weights import load_into
from medtransfer.paths import FitPaths
from medtransfer.training.engine import Engine
from medtransfer.training.fitting import FitSpec, Parent, Setting
from medtransfer.training.loading import EVALUATION_BATCH, training_loader
from medtransfer.training.optim import AdamConfig, CosineSchedule, TrainConfig
from medtransfer.training.selection import SelectionConfig
from medtransfer.training.supervised import MultiLabelTask, SupervisedTask
from medtransfer.training.task import Task
from medtransfer.training.validation import multilabel_validation, supervised_validation
from medtransfer.training.values import ValueTask, value_validation

Targets = NDArray[np.float32]
STUDY = "compare"
VALIDATIONS = 5
"""Per fit, evenly spaced; the best of them is kept."""


class Budget(Config):
    """What every candidate gets: the same for all."""

    steps: int = 80
    batch_size: int = 16
    lr: float = 0.0005
    seeds: tuple[int, ...] = (0, 1, 2)
    crop: int = 160

    def train(self, question: Question, images: int) -> TrainConfig:
        """Return the settings of a fit on this many training images."""
        return TrainConfig(
            steps=self.steps,
            validate_every=max(1, self.steps // VALIDATIONS),
            batch_size=max(2, min(self.batch_size, images // 2)),
            optimizer=AdamConfig(name="adamw", lr=self.lr, weight_decay=1e-4),
            schedule=CosineSchedule(warmup_steps=self.steps // 10),
            selection=SelectionConfig(metric=selection(question)),
        )


class CandidateFit(Config):
    """All settings of one fit, as they are tracked."""

    dataset: Name
    question: Question
    candidate: Candidate
    augment: AugmentConfig
    train: TrainConfig


def selection(question: Question) -> str:
    """Return the validation metric that keeps the weights."""
    return {
        "binary": f"val/auroc_{question.positive}",
        "multiclass": "val/macro_auroc",
        "multilabel": "val/macro_auroc",
        "regression": "val/r2",
    }[question.task]


def targets_of(data: PackedDataset, question: Question) -> Targets | None:
    """Return the targets of every row ``[N, outputs]`` where they are no classes."""
    if question.task in ("binary", "multiclass"):
        return None
    mark = "v" if question.task == "regression" else "y"
    targets: Targets = data.manifest[[f"{mark}_{name}" for name in question.outputs]].to_numpy(np.float32)
    return targets


def view(data: PackedDataset, question: Question, splits: Sequence[str], crop: int, engine: Engine) -> Loader:
    """Return a loader over some splits in the evaluation view."""
    rows = np.concatenate([np.flatnonzero(data.manifest["split"] == split) for split in splits])
    targets = targets_of(data, question)
    return Loader(
        data,
        rows,
        batch_size=EVALUATION_BATCH,
        crop=crop,
        targets=targets,
        seed=0,
        train=False,
        device=engine.device,
    )


def fitted(name: str, variant: str, condition: str, seed: int) -> FitPaths:
    """Return where the weights and records of a fit of a comparison are."""
    return FitPaths(study=STUDY, folder=name, variant=variant, condition=condition, seed=seed)


def fits_of(
    candidate: Candidate, data: PackedDataset, question: Question, name: str, budget: Budget, setting: Setting
) -> list[FitSpec]:
    """Return one fit per seed of a candidate.

    Raises:
        ConfigError: its weights do not exist.
    """
    weights, rows = weights_of(candidate), np.flatnonzero(data.manifest["split"] == "train")
    train = budget.train(question, len(rows))
    settings = CandidateFit(
        dataset=data.meta.name,
        question=question,
        candidate=candidate.model_copy(update={"start": candidate.condition}),
        augment=AugmentConfig(crop=budget.crop, hflip=0.5, rotate=10.0, jitter=(0.2, 0.2, 0.0, 0.0), jitter_p=0.5),
        train=train,
    )
    parent = Parent(folder=weights, sha256=start_hash(weights), run_key=None) if weights else None
    targets = targets_of(data, question)

    def one(seed: int) -> FitSpec:
        return FitSpec(
            **vars(fitted(name, candidate.variant, candidate.condition, seed)),
            phase="finetune",
            title=f"{candidate.variant} · {candidate.condition}",
            paper="",
            tags={"network": candidate.variant, "start": candidate.condition, "comparison": name},
            settings=settings,
            train=train,
            crop=budget.crop,
            data={data.meta.name: data},
            loaders=training_loader(data, rows, settings, seed, setting.engine, targets=targets),
            network=candidate.structure,
            task=partial(_task, candidate, weights, question, seed, None if targets is None else targets[rows]),
            validate=_validation(data, question, budget.crop, setting.engine),
            parent=parent,
            positive=question.positive,
        )

    return [one(seed) for seed in budget.seeds]


def _task(
    candidate: Candidate,
    weights: Path | None,
    question: Question,
    seed: int,
    targets: Targets | None,
) -> Task:
    model = build_network(candidate.structure, classes=len(question.outputs), seed=seed)
    if weights is not None:
        load_into(model, weights, head=False)
    if question.task == "multilabel":
        return MultiLabelTask(model, question.outputs)
    if targets is None:
        return SupervisedTask(model, question.outputs)
    mean, scale = np.nanmean(targets, axis=0), np.nanstd(targets, axis=0)
    if not (scale > 0).all():
        raise ConfigError(f"{question.columns[0]}: the training images have one value alone, expected several")
    return ValueTask(model, question.outputs, mean=torch.from_numpy(mean), scale=torch.from_numpy(scale))


def _validation(
    data: PackedDataset, question: Question, crop: int, engine: Engine
) -> Callable[[Task], dict[str, float]]:
    if question.task == "multilabel":
        return multilabel_validation(data, crop, engine, findings=question.outputs)
    if question.task == "regression":
        return value_validation(view(data, question, ("val",), crop, engine), engine)
    return supervised_validation(data, crop, engine, positive=question.positive or None)
