"""The phase ``finetune``: every column and tried augmentation, from scratch, on a frozen base or with all layers."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from medtransfer.data.keras import KerasLoader
from medtransfer.evaluation.metrics import METRICS
from medtransfer.models.classifier import Classifier, build_network
from medtransfer.models.weights import load_into
from medtransfer.studies.visual_transfer import study
from medtransfer.studies.visual_transfer.config import FitPhase, VisualTransferConfig
from medtransfer.studies.visual_transfer.images import normalization_of, targets_of
from medtransfer.training.fitting import FitSpec, Parent, Setting
from medtransfer.training.frozen import BinaryTask, FrozenBase, FrozenLoader, FrozenTask
from medtransfer.training.inference import BINARY, predict
from medtransfer.training.loading import EVALUATION_BATCH, open_dataset
from medtransfer.training.progress import console
from medtransfer.training.run import Plan
from medtransfer.training.task import Task


def plan(config: VisualTransferConfig, phase: str, variant: str, conditions: Sequence[str], setting: Setting) -> Plan:
    """Return one fit per seed of a variant; none where its base has no weights."""
    del phase, conditions
    if not study.available(config, variant):
        console.print(f"{variant}: not available, its base has no weights", markup=False, soft_wrap=True)
        return Plan()
    maker = _Maker(config, variant, setting)
    return Plan(fits=[maker.fit(seed) for seed in config.seeds_of(variant)])


class _Maker:
    """Builds the fits of a variant; data, base and what the base makes of validation images are shared by its seeds."""

    def __init__(self, config: VisualTransferConfig, variant: str, setting: Setting) -> None:
        self.config, self.variant, self.setting = config, variant, setting
        self.column, self.network = config.column(variant), config.network(variant)
        self.parent = Parent.read(study.base(self.column.base)) if self.column.base else None
        self.frozen = self.parent is not None and self.column.frozen
        self.data, (mean, std) = open_dataset(config.dataset), normalization_of(config, self.column.base)
        self.settings = FitPhase(
            dataset=config.dataset,
            positive=config.positive,
            column=self.column,
            augmentation=config.augmentations[self.column.augmentation],
            views=config.views_of(variant),
            mean=tuple(mean),
            std=tuple(std),
            train=config.train_of(variant),
        )

    @cached_property
    def base(self) -> FrozenBase:
        return FrozenBase(self._built(0), self.setting.engine)

    @cached_property
    def validation(self) -> KerasLoader:
        return self._loader("val", seed=0, train=False)

    def fit(self, seed: int) -> FitSpec:
        """Return the fit of a seed."""
        config, base = self.config, self.config.bases.get(self.column.base)
        return FitSpec(
            **vars(study.fitted(self.variant, seed)),
            paper=study.PAPER,
            phase=study.FINETUNE,
            title=self.variant,
            tags={
                "network": self.network.title,
                "weights": base.knows if base else "random",
                "trained": "head" if self.frozen else "all layers",
                "augmentation": self.column.augmentation,
            },
            settings=self.settings,
            train=self.settings.train,
            crop=config.crop,
            data={config.dataset: self.data},
            loaders=self._loader("train", seed=seed, train=True),
            network=self.network,
            task=lambda: self._task(seed),
            validate=self._validate,
            parent=self.parent,
            positive=config.positive,
            normalization=(self.settings.mean, self.settings.std),
        )

    def _built(self, seed: int) -> Classifier:
        model = build_network(self.network, classes=1, seed=seed)
        if self.parent:
            load_into(model, self.parent.folder, head=False)
        return model

    def _task(self, seed: int) -> BinaryTask:
        model = self._built(seed)
        return FrozenTask(model, self.config.positive) if self.frozen else BinaryTask(model, self.config.positive)

    def _validate(self, task: Task) -> dict[str, float]:
        found = predict(task, self.validation, self.setting.engine)
        truth, score = found["target"][:, 0].astype(int), found["label"][:, 0]
        positive = self.config.positive
        return {f"val/{name}_{positive}": float(METRICS[name](truth, score)) for name in BINARY}

    def _loader(self, split: str, *, seed: int, train: bool) -> KerasLoader:
        rows = self.data.rows(split)
        targets, engine = targets_of(self.data, self.config.positive), self.setting.engine
        options: dict[str, Any] = {
            "batch_size": self.settings.train.batch_size if train else EVALUATION_BATCH,
            "seed": seed,
            "train": train,
            "crop": self.config.crop,
            "targets": targets,
            "recipe": self.settings.augmentation,
            "views": self.settings.views,
            "normalization": (self.settings.mean, self.settings.std),
            "device": engine.device,
        }
        options |= {"rank": engine.rank, "world": engine.world} if train else {}
        rows = rows[~np.isnan(targets[rows, 0])]
        if self.frozen:
            return FrozenLoader(self.data, rows, base=self.base, cached=self.config.cache, **options)
        return KerasLoader(self.data, rows, **options)
