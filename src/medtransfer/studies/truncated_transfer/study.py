"""Wiring of the fits: which data, regime, network, start and protocol each has, and the trials that tune them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import cast

import torch

from medtransfer import paths
from medtransfer.data.packed import PackedDataset
from medtransfer.data.regimes import RegimeConfig, apply_regime
from medtransfer.errors import ConfigError
from medtransfer.losses.classification import balanced_class_weight, positive_weight
from medtransfer.models.classifier import Classifier, build_network, require_network
from medtransfer.models.networks import network_config
from medtransfer.models.weights import load_into
from medtransfer.studies.truncated_transfer.config import (
    Condition,
    FitPhase,
    TaskConfig,
    TruncatedTransferConfig,
    with_rate,
)
from medtransfer.training import starts
from medtransfer.training.fitting import Parent, Setting, Variant, make_job
from medtransfer.training.loading import open_dataset, supervised_loader
from medtransfer.training.optim import TrainConfig
from medtransfer.training.run import Job, Outcome
from medtransfer.training.selection import SelectionConfig
from medtransfer.training.task import MultiLabelTask, SupervisedTask, Task
from medtransfer.training.validation import multilabel_validation, supervised_validation

STUDY = "truncated_transfer"
PAPER = "Peng et al. 2021"
PRETRAINED_SEED = 0
"""All fits start from one pretrained network, as there is one ImageNet checkpoint in the paper."""


@dataclass(frozen=True, kw_only=True)
class TruncatedVariant(Variant):
    """The name of one fit of this study; all of it becomes tags."""

    strategy: str
    task: str
    regime: str
    protocol: str
    learning_rate: str
    trials: str = ""
    """Validation result of every learning rate that was tried."""


def pretrained_folder(backbone: str) -> Path:
    """Folder of a whole network that fits start from."""
    return paths.variant(STUDY, "pretrained", backbone)


def finetuned_folder(variant: str) -> Path:
    """Folder of a variant; every condition has a variant's folder below it."""
    return paths.variant(STUDY, "finetuned", variant)


def fitted_folder(variant: str, condition: Condition, seed: int) -> Path:
    """Folder with model.safetensors and config.json of one fit."""
    return finetuned_folder(variant) / condition.name / "weights" / f"seed{seed}"


def chain(variant: str, condition: Condition) -> str:
    """Return how strategy, regime and protocol are written in one word: ``transfer-tenth-tuned``."""
    return "-".join((variant.rpartition("-")[2], condition.regime, condition.protocol))


def require_variants(config: TruncatedTransferConfig) -> None:
    """Refuse variants whose networks cannot be built, before the first of them trains for hours; nothing is computed.

    Raises:
        ModelError: a backbone or a cut does not exist, or pictures of the crop do not pass through a network.
    """
    for structure in {
        config.variant(variant).network: config.structure(variant) for variant in config.variants
    }.values():
        require_network(structure, side=config.augment.crop)


def write_ready_made(config: TruncatedTransferConfig, backbone: str) -> None:
    """Write a backbone's ready-made weights; with ``kind: train`` there are none and ``pretrain_jobs`` makes them."""
    network = network_config(backbone)
    folder = pretrained_folder(backbone)
    starts.write_ready_made(network, config.start[backbone], folder, seeds=(PRETRAINED_SEED,), name=backbone)


def pretrain_jobs(config: TruncatedTransferConfig, backbone: str, setting: Setting) -> list[Job]:
    """Return the fit that trains a whole backbone from scratch, for later fits to start from."""
    phase, seed = config.pretrain, PRETRAINED_SEED
    data = open_dataset(phase.dataset)
    network = network_config(backbone).model_copy(update={"dropout": phase.dropout})
    variant = Variant(
        study=STUDY,
        phase="pretrain",
        network=backbone,
        attention="",
        chain="pretrain",
        chain_title=phase.dataset,
        seed=seed,
        paper=PAPER,
    )
    job = make_job(
        variant,
        phase,
        setting,
        parent=None,
        data=data,
        task=lambda: SupervisedTask(build_network(network, len(data.meta.classes), seed=seed), data.meta.classes),
        loader=supervised_loader(data, phase, seed, setting.engine),
        validate=supervised_validation(data, phase.augment.crop, setting.engine, positive=None),
        network=network,
    )
    return [job]


def jobs(
    config: TruncatedTransferConfig, variant: str, setting: Setting
) -> tuple[list[Job], Callable[[Sequence[Outcome]], list[Job]]]:
    """Return a variant's fits that need no trial, then the trials; and a function from outcomes to the tuned fits.

    Args:
        config: the study's parameters.
        variant: a name out of ``config.variants``.
        setting: device and lineage.

    Raises:
        ConfigError: there is no such variant.
    """
    if variant not in config.variants:
        raise ConfigError(f"variant {variant!r} is not in truncated_transfer.variants: {', '.join(config.variants)}")
    makers = [_Maker(config, variant, condition, setting) for condition in config.conditions()]
    plain = [maker.fit(seed) for maker in makers if maker.condition.protocol == "paper" for seed in config.seeds]
    tuned = [maker for maker in makers if maker.condition.protocol == "tuned"]
    trials = [trial for maker in tuned for trial in maker.trials()]

    def then(outcomes: Sequence[Outcome]) -> list[Job]:
        rest = list(outcomes[len(plain) :])
        count = len(config.tuning.learning_rates)
        chosen = [rest[i * count : (i + 1) * count] for i in range(len(tuned))]
        return [maker.fit(seed, tried) for maker, tried in zip(tuned, chosen, strict=True) for seed in config.seeds]

    return plain + trials, then


def best_trial(outcomes: Sequence[Outcome], selection: SelectionConfig) -> int:
    """Return the number of the best trial by the selection metric; the first among equals."""
    rows = [{k: math.nan if v is None else v for k, v in outcome.items()} for outcome in outcomes]
    best: int | None = None
    for number, row in enumerate(rows):
        if selection.is_better(row, None if best is None else rows[best]):
            best = number
    return best or 0


class _Maker:
    """Makes the fits of one variant under one condition; the data set is opened once."""

    def __init__(self, config: TruncatedTransferConfig, variant: str, condition: Condition, setting: Setting) -> None:
        self.config, self.variant, self.condition, self.setting = config, variant, condition, setting
        self.settings = config.tasks[condition.task]
        self.outputs = self.settings.findings or self.data.meta.classes

    @cached_property
    def data(self) -> PackedDataset:
        return open_dataset(self.settings.dataset)

    def trials(self) -> list[Job]:
        """One fit a learning rate, with the first seed."""
        seed = self.config.seeds[0]
        return [self._job(seed, train, phase="trial") for train in self.config.tuning.rates(self.config.train)]

    def fit(self, seed: int, tried: Sequence[Outcome] = ()) -> Job:
        """The fit that counts, with the best of the learning rates that were tried."""
        if not tried:
            return self._job(seed, self.config.train)
        rates, selection = self.config.tuning.learning_rates, cast(SelectionConfig, self.config.train.selection)
        rate = rates[best_trial(tried, selection)]
        scores = [f"{r:g}: {outcome[selection.metric]}" for r, outcome in zip(rates, tried, strict=True)]
        return self._job(seed, with_rate(self.config.train, rate), trials=", ".join(scores))

    def _job(self, seed: int, train: TrainConfig, *, phase: str = "finetune", trials: str = "") -> Job:
        config, engine = self.config, self.setting.engine
        settings = FitPhase(
            dataset=self.settings.dataset,
            task=self.settings,
            regime=config.regimes[self.condition.regime],
            class_weights=config.class_weights,
            augment=config.augment,
            train=train,
        )
        data = under_regime(self.data, self.settings, settings.regime, seed)
        network, parent = config.structure(self.variant), self._parent()
        loader = supervised_loader(data, settings, seed, engine, findings=self.settings.findings)

        def task() -> Task:
            model = build_network(network, classes=len(self.outputs), seed=seed)
            if parent:
                load_into(model, parent.folder, head=False)
            targets = torch.from_numpy(loader.targets[loader.rows])
            return _task(model, self.settings, targets, outputs=self.outputs, weighted=config.class_weights)

        return make_job(
            self._variant(seed, train, phase, trials),
            settings,
            self.setting,
            parent=parent,
            data=data,
            task=task,
            loader=loader,
            validate=task_validation(data, self.settings, config.augment.crop, setting=self.setting),
            network=network,
            positive=self.settings.positive,
            part=self.condition.name + (f"-trial{train.learning_rate:g}" if phase == "trial" else ""),
        )

    def _parent(self) -> Parent | None:
        if self.config.variant(self.variant).strategy == "random":
            return None
        folder = pretrained_folder(self.config.backbone(self.variant))
        return Parent.read(folder / "weights" / f"seed{PRETRAINED_SEED}")

    def _variant(self, seed: int, train: TrainConfig, phase: str, trials: str) -> TruncatedVariant:
        network, strategy = self.config.variant(self.variant)
        rate = f"{train.learning_rate:g}"
        steps = [strategy, self.condition.task, self.condition.regime, self.condition.protocol]
        return TruncatedVariant(
            study=STUDY,
            phase=phase,
            network=network,
            attention="",
            chain=chain(self.variant, self.condition),
            chain_title=" · ".join(steps + ([f"lr {rate}"] if phase == "trial" else [])),
            seed=seed,
            paper=PAPER,
            strategy=strategy,
            task=self.condition.task,
            regime=self.condition.regime,
            protocol=self.condition.protocol,
            learning_rate=rate,
            trials=trials,
        )


def under_regime(data: PackedDataset, task: TaskConfig, regime: RegimeConfig, seed: int) -> PackedDataset:
    """Return the same pictures with only the cases of a regime in the splits; each seed draws its own few cases."""
    manifest = apply_regime(data.manifest, regime, positive=task.positive, findings=task.findings, seed=seed)
    return PackedDataset(data.folder, manifest, data.meta)


def task_validation(
    data: PackedDataset, task: TaskConfig, crop: int, *, setting: Setting
) -> Callable[[Task], dict[str, float]]:
    """Return a task's validation, with ``val/auroc`` and ``val/auprc`` of its one question or the mean of several."""
    if task.findings:
        validate = multilabel_validation(data, crop, setting.engine, findings=task.findings)
        names = {f"val/{name}": f"val/macro_{name}" for name in ("auroc", "auprc")}
    else:
        validate = supervised_validation(data, crop, setting.engine, positive=task.positive)
        names = {f"val/{name}": f"val/{name}_{task.positive}" for name in ("auroc", "auprc")}
    return partial(_with_overall, validate, names)


def _with_overall(validate: Callable[[Task], dict[str, float]], names: dict[str, str], task: Task) -> dict[str, float]:
    found = validate(task)
    return found | {name: found[source] for name, source in names.items()}


def _task(
    model: Classifier, settings: TaskConfig, targets: torch.Tensor, *, outputs: Sequence[str], weighted: bool
) -> Task:
    if settings.findings:
        return MultiLabelTask(model, outputs, positive_weight=positive_weight(targets) if weighted else None)
    weight = balanced_class_weight(targets, len(outputs)) if weighted else None
    return SupervisedTask(model, outputs, class_weight=weight)
