"""The phase ``finetune``: diagnosis and severity on a corpus backbone, one or both."""

from collections.abc import Mapping, Sequence
from typing import Any

from medtransfer.data.loaders import Loader, without_lungs
from medtransfer.data.manifest import ZONES
from medtransfer.data.packed import PackedDataset
from medtransfer.models.classifier import build_network
from medtransfer.models.multitask import LABEL, SEVERITY
from medtransfer.models.weights import load_into
from medtransfer.studies.multitask_vit import study
from medtransfer.studies.multitask_vit.config import FinetunePhase, MultitaskVitConfig
from medtransfer.training.engine import Engine
from medtransfer.training.fitting import FitSpec, Parent, Setting
from medtransfer.training.loading import evaluation_loader, open_dataset, supervised_loader
from medtransfer.training.multitask import MultitaskTask, multitask_heads, multitask_validation
from medtransfer.training.optim import TrainConfig
from medtransfer.training.run import Plan

Sources = Mapping[str, PackedDataset]
"""The data set of each task; the network's images are normalised like those of the first."""


def plan(config: MultitaskVitConfig, phase: str, variant: str, conditions: Sequence[str], setting: Setting) -> Plan:
    """Return one fit per seed of a variant."""
    del conditions  # there is one
    return Plan(fits=[_fit(config, phase, variant, seed, setting) for seed in config.seeds])


def open_sources(settings: FinetunePhase, tasks: Sequence[str]) -> Sources:
    """Open the data set of each task, one that serves both once."""
    names = {task: settings.task(task).dataset for task in tasks}
    opened = {name: open_dataset(name) for name in dict.fromkeys(names.values())}
    return {task: opened[name] for task, name in names.items()}


def evaluation_loaders(sources: Sources, split: str, crop: int, engine: Engine) -> dict[str, Loader]:
    """Return the loaders of one split by task, in the evaluation view."""
    first = next(iter(sources.values()))
    return {
        task: evaluation_loader(data, split, crop, engine, trained_on=first, **_targets(task))
        for task, data in sources.items()
    }


def _fit(config: MultitaskVitConfig, phase: str, variant: str, seed: int, setting: Setting) -> FitSpec:
    chosen, network, settings = config.variants[variant], config.network(variant), config.finetune
    sources, crop, engine = open_sources(settings, chosen.tasks), settings.augment.crop, setting.engine
    classes = open_dataset(settings.label.dataset).meta.classes
    parent = Parent.read(study.backbone(chosen.backbone)) if chosen.pretrained else None
    first = next(iter(sources.values()))
    loaders = {
        task: supervised_loader(data, settings.task(task), seed, engine, like=first, **_targets(task))
        for task, data in sources.items()
    }
    graded = SEVERITY in sources
    validation = evaluation_loaders(sources, "val", crop, engine)
    return FitSpec(
        **vars(study.fitted(variant, seed)),
        paper=study.PAPER,
        phase=phase,
        title=variant,
        tags={"network": network.title, "tasks": ", ".join(chosen.tasks), "pretrained": str(chosen.pretrained)},
        settings=settings,
        train=_train(settings, chosen.tasks),
        crop=crop,
        data={settings.task(task).dataset: data for task, data in sources.items()},
        loaders=loaders,
        network=network,
        task=lambda: _task(config, variant, classes, seed, parent),
        validate=multitask_validation(validation, classes, engine),
        parent=parent,
        counts={"data/without_lungs": without_lungs(sources[SEVERITY], loaders[SEVERITY].rows)} if graded else {},
    )


def _task(
    config: MultitaskVitConfig, variant: str, classes: Sequence[str], seed: int, parent: Parent | None
) -> MultitaskTask:
    heads, settings = multitask_heads(classes, config.variants[variant].tasks), config.finetune
    outputs = sum(len(head.outputs) for head in heads.values())
    model = build_network(config.network(variant), outputs, seed=seed)
    if parent:
        load_into(model, parent.folder, head=False)
    return MultitaskTask(
        model,
        classes,
        severity_weight=settings.severity_weight,
        severity_lr=settings.severity_lr,
        severity_schedule=settings.severity_schedule,
    )


def _train(settings: FinetunePhase, tasks: Sequence[str]) -> TrainConfig:
    """Return the settings of a fit; without a diagnosis its weights are selected by the severity score."""
    if LABEL in tasks:
        return settings.train
    return settings.train.model_copy(update={"selection": settings.severity_selection})


def _targets(task: str) -> dict[str, Any]:
    """Return what a task's loaders deliver beside images: classes, or zones with lung masks."""
    return {"outputs": ZONES, "lungs": True} if task == SEVERITY else {}
