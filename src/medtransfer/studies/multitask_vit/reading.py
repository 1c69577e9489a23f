"""Which images a network reads, task by task: all hospitals together, or one of them held out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from medtransfer.data.loaders import Loader
from medtransfer.data.lungs import FILE, SEGMENTER, WHOLE, Segment, count_origins, lung_origins
from medtransfer.data.manifest import ZONES
from medtransfer.data.packed import PackedDataset
from medtransfer.errors import DataError
from medtransfer.models.multitask import SEVERITY
from medtransfer.models.segmenters import segmenter
from medtransfer.studies.multitask_vit import study
from medtransfer.studies.multitask_vit.config import MultitaskVitConfig
from medtransfer.training.engine import Engine
from medtransfer.training.loading import evaluation_loader, open_dataset, supervised_loader


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The data sets of a variant under a condition.

    Attributes:
        config: the study's parameters.
        masks: whether lung masks are read.
        left_out: the ``source`` whose images are neither trained nor validated on; empty for none.
        sources: the data set of each task; the network's images are normalised like those of the first.
        engine: device.
    """

    config: MultitaskVitConfig
    masks: bool
    left_out: str
    sources: Mapping[str, PackedDataset]
    engine: Engine

    @classmethod
    def open(cls, config: MultitaskVitConfig, variant: str, condition: str, engine: Engine) -> "Reading":
        """Open the data set of each task of a variant, one that serves both once."""
        chosen = config.variants[variant]
        names = {task: config.finetune.task(task).dataset for task in chosen.tasks}
        opened = {name: open_dataset(name) for name in dict.fromkeys(names.values())}
        return cls(
            config=config,
            masks=chosen.masks == "files",
            left_out=study.held_out(config, condition),
            sources={task: opened[name] for task, name in names.items()},
            engine=engine,
        )

    def training(self, seed: int) -> dict[str, Loader]:
        """Return the training loaders by task."""
        settings = self.config.finetune
        return {
            task: supervised_loader(
                data, settings.task(task), seed, self.engine, like=self._first, among=self._kept(data), **self._of(task)
            )
            for task, data in self.sources.items()
        }

    def evaluation(self, split: str) -> dict[str, Loader]:
        """Return the loaders of one split by task, in the evaluation view, without the hospital that is left out."""
        return {task: self._seen(task, split, self._kept(data)) for task, data in self.sources.items()}

    def held_out(self) -> Loader:
        """Return the loader of all scored images of the hospital that is left out, in the evaluation view."""
        return self._seen(SEVERITY, None, ~self._kept(self.sources[SEVERITY]))

    def lungs(self, split: str) -> dict[str, int]:
        """Return for how many graded images of a split the lungs are from a file, a segmenter, or the whole image."""
        loaders = self.training(0) if split == "train" else self.evaluation(split)
        rows = loaders[SEVERITY].rows
        origins = lung_origins(self.sources[SEVERITY], rows, self._segment) if self.masks else [WHOLE] * len(rows)
        return count_origins(origins)

    @property
    def _segment(self) -> Segment | None:
        return segmenter(self.config.finetune.segmenter)

    @property
    def _first(self) -> PackedDataset:
        return next(iter(self.sources.values()))

    def _seen(self, task: str, split: str | None, among: np.ndarray) -> Loader:
        crop, data = self.config.finetune.augment.crop, self.sources[task]
        return evaluation_loader(data, split, crop, self.engine, trained_on=self._first, among=among, **self._of(task))

    def _of(self, task: str) -> dict[str, Any]:
        """Return what a task's loaders deliver beside images: classes, or zones with lung masks."""
        return {"outputs": ZONES, "lungs": self.masks, "segment": self._segment} if task == SEVERITY else {}

    def _kept(self, data: PackedDataset) -> np.ndarray:
        kept: np.ndarray = (data.manifest["source"] != self.left_out).to_numpy() | (self.left_out == "")
        return kept


LUNG_COUNTS = {FILE: "data/lungs_from_files", SEGMENTER: "data/lungs_from_segmenter", WHOLE: "data/without_lungs"}
"""Where a lung mask is from → the metric that counts the training images."""


def require_unseen(config: MultitaskVitConfig, variant: str, condition: str) -> None:
    """Refuse to hold out a hospital that the backbone's training on findings has seen.

    Raises:
        DataError: names hospital and backbone.
    """
    chosen, source = config.variants[variant], study.held_out(config, condition)
    if not source or not chosen.pretrained or not config.backbones[chosen.backbone].findings:
        return
    data = open_dataset(config.corpus.dataset)
    known = ~np.isnan(data.targets(config.corpus.findings, blank=True)).all(axis=1)
    seen = int((known & (data.manifest["split"] != "test") & (data.manifest["source"] == source)).sum())
    if seen:
        raise DataError(
            f"hospital {source!r} cannot be held out of {variant!r}: its backbone {chosen.backbone!r} was trained on "
            f"findings with {seen} of its images; hold out another one, or train findings elsewhere"
        )
