"""The phase ``finetune``: every condition of a network and strategy, with its own trials of the learning rate."""

import math
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import cast

import torch

from medtransfer.data.packed import PackedDataset
from medtransfer.data.regimes import under_regime
from medtransfer.losses.classification import balanced_class_weight, positive_weight
from medtransfer.models.classifier import Classifier, build_network
from medtransfer.models.weights import load_into
from medtransfer.studies.truncated_transfer import study
from medtransfer.studies.truncated_transfer.config import (
    Condition,
    FitPhase,
    TaskConfig,
    TruncatedTransferConfig,
    with_rate,
)
from medtransfer.studies.truncated_transfer.pretraining import require_variants
from medtransfer.training.fitting import FitSpec, Parent, Setting
from medtransfer.training.loading import open_dataset, supervised_loader
from medtransfer.training.optim import TrainConfig
from medtransfer.training.run import Plan
from medtransfer.training.selection import FitMetrics, SelectionConfig
from medtransfer.training.supervised import MultiLabelTask, SupervisedTask
from medtransfer.training.task import Task
from medtransfer.training.validation import multilabel_validation, supervised_validation
from medtransfer.tuning.grid import grid


def plan(
    config: TruncatedTransferConfig, phase: str, variant: str, conditions: Sequence[str], setting: Setting
) -> Plan:
    """Return the fits without trials and the trials; the trials then choose the learning rates of the tuned fits."""
    if not config.start:  # then this is the first stage that the study runs
        require_variants(config)
    chosen = [condition for condition in config.conditions() if condition.name in conditions]
    makers = [_Maker(config, phase, variant, condition, setting) for condition in chosen]
    plain = [maker.fit(seed) for maker in makers if maker.condition.protocol == "paper" for seed in config.seeds]
    tuned = [maker for maker in makers if maker.condition.protocol == "tuned"]
    trials = [trial for maker in tuned for trial in maker.trials()]

    def then(reached: Sequence[FitMetrics]) -> list[FitSpec]:
        of_trials, count = list(reached[len(plain) :]), len(config.tuning.learning_rates)
        tried = [of_trials[i * count : (i + 1) * count] for i in range(len(tuned))]
        return [maker.fit(seed, own) for maker, own in zip(tuned, tried, strict=True) for seed in config.seeds]

    return Plan(fits=plain + trials, then=then)


def best_trial(reached: Sequence[FitMetrics], selection: SelectionConfig) -> int:
    """Return the index of the best trial by the selection metric; of equal trials, the first."""
    rows = [{k: math.nan if v is None else v for k, v in metrics.items()} for metrics in reached]
    best: int | None = None
    for number, row in enumerate(rows):
        if selection.is_better(row, None if best is None else rows[best]):
            best = number
    return best or 0


class _Maker:
    """Builds the fits of one variant under one condition; the data set is opened once."""

    def __init__(
        self, config: TruncatedTransferConfig, phase: str, variant: str, condition: Condition, setting: Setting
    ) -> None:
        self.config, self.phase, self.variant = config, phase, variant
        self.condition, self.setting = condition, setting
        self.settings = config.tasks[condition.task]
        self.outputs = self.settings.findings or self.data.meta.classes

    @cached_property
    def data(self) -> PackedDataset:
        return open_dataset(self.settings.dataset)

    def trials(self) -> list[FitSpec]:
        """Return one fit per learning rate, with the first seed."""
        seed = self.config.seeds[0]
        rates = [point["learning_rate"] for point in grid({"learning_rate": self.config.tuning.learning_rates})]
        settings = self.config.tuning.trials(self.config.train, rates)
        return [self._fit(seed, train, trial=True) for train in settings]

    def fit(self, seed: int, tried: Sequence[FitMetrics] = ()) -> FitSpec:
        """Return the fit of a seed, with the best of the learning rates that were tried."""
        if not tried:
            return self._fit(seed, self.config.train)
        rates, selection = self.config.tuning.learning_rates, cast(SelectionConfig, self.config.train.selection)
        rate = rates[best_trial(tried, selection)]
        scores = [f"{r:g}: {metrics[selection.metric]}" for r, metrics in zip(rates, tried, strict=True)]
        return self._fit(seed, with_rate(self.config.train, rate), trials=", ".join(scores))

    def _fit(self, seed: int, train: TrainConfig, *, trial: bool = False, trials: str = "") -> FitSpec:
        config, engine, rate = self.config, self.setting.engine, f"{train.learning_rate:g}"
        settings = FitPhase(
            dataset=self.settings.dataset,
            task=self.settings,
            regime=config.regimes[self.condition.regime],
            class_weights=config.class_weights,
            augment=config.augment,
            train=train,
        )
        positive, findings = self.settings.positive, self.settings.findings
        data = under_regime(self.data, settings.regime, positive=positive, findings=findings, seed=seed)
        loader = supervised_loader(data, settings, seed, engine, outputs=findings)
        name = self.condition.name + (f"-trial{rate}" if trial else "")
        tags = self.condition._asdict() | {"learning_rate": rate, "trials": trials}
        return FitSpec(
            **vars(study.fitted(self.variant, name, seed)),
            paper=study.PAPER,
            phase=self.phase,
            title=self._title(rate if trial else ""),
            tags=self.config.variant(self.variant)._asdict() | tags,
            settings=settings,
            train=train,
            crop=config.augment.crop,
            data={settings.dataset: data},
            loaders=loader,
            network=config.structure(self.variant),
            task=partial(self._task, seed, torch.from_numpy(loader.targets[loader.rows])),
            validate=task_validation(data, self.settings, config.augment.crop, setting=self.setting),
            parent=self._parent,
            positive=positive,
            trial=trial,
        )

    def _task(self, seed: int, targets: torch.Tensor) -> Task:
        model = build_network(self.config.structure(self.variant), classes=len(self.outputs), seed=seed)
        if self._parent:
            load_into(model, self._parent.folder, head=False)
        return _task(model, self.settings, targets, self.outputs, weighted=self.config.class_weights)

    @cached_property
    def _parent(self) -> Parent | None:
        if self.config.variant(self.variant).strategy == "random":
            return None
        return Parent.read(study.source(self.config.backbone(self.variant)))

    def _title(self, rate: str) -> str:
        network, strategy = self.config.variant(self.variant)
        return " · ".join((network, strategy, *self.condition, *([f"lr {rate}"] if rate else [])))


def task_validation(
    data: PackedDataset, task: TaskConfig, crop: int, *, setting: Setting
) -> Callable[[Task], dict[str, float]]:
    """Return a task's validation, with ``val/auroc`` and ``val/auprc`` of its class or their mean over findings."""
    if task.findings:
        validate = multilabel_validation(data, crop, setting.engine, findings=task.findings)
        names = {f"val/{name}": f"val/macro_{name}" for name in ("auroc", "auprc")}
    else:
        validate = supervised_validation(data, crop, setting.engine, positive=task.positive)
        names = {f"val/{name}": f"val/{name}_{task.positive}" for name in ("auroc", "auprc")}
    return partial(_with_overall, validate, names)


def _with_overall(validate: Callable[[Task], dict[str, float]], names: dict[str, str], task: Task) -> dict[str, float]:
    metrics = validate(task)
    return metrics | {name: metrics[source] for name, source in names.items()}


def _task(
    model: Classifier, settings: TaskConfig, targets: torch.Tensor, outputs: Sequence[str], *, weighted: bool
) -> Task:
    if settings.findings:
        return MultiLabelTask(model, outputs, positive_weight=positive_weight(targets) if weighted else None)
    weight = balanced_class_weight(targets, len(outputs)) if weighted else None
    return SupervisedTask(model, outputs, class_weight=weight)
