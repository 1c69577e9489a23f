"""The phase ``finetune``: diagnosis and severity on a corpus backbone, one or both."""

from collections.abc import Sequence

from medtransfer.models.classifier import build_network
from medtransfer.models.multitask import LABEL, SEVERITY
from medtransfer.models.weights import load_into
from medtransfer.studies.multitask_vit import study
from medtransfer.studies.multitask_vit.config import FinetunePhase, MultitaskVitConfig
from medtransfer.studies.multitask_vit.reading import LUNG_COUNTS, Reading, require_unseen
from medtransfer.training.fitting import FitSpec, Parent, Setting
from medtransfer.training.loading import open_dataset
from medtransfer.training.multitask import MultitaskTask, multitask_heads, multitask_validation
from medtransfer.training.optim import TrainConfig
from medtransfer.training.run import Plan


def plan(config: MultitaskVitConfig, phase: str, variant: str, conditions: Sequence[str], setting: Setting) -> Plan:
    """Return one fit per condition and seed of a variant.

    Raises:
        DataError: a hospital that is to be held out has taught the backbone.
    """
    for condition in conditions:
        require_unseen(config, variant, condition)
    specs = [(condition, seed) for condition in conditions for seed in config.seeds]
    return Plan(fits=[_fit(config, phase, variant, condition, seed, setting) for condition, seed in specs])


def _fit(config: MultitaskVitConfig, phase: str, variant: str, condition: str, seed: int, setting: Setting) -> FitSpec:
    chosen, network, settings = config.variants[variant], config.network(variant), config.finetune
    reading = Reading.open(config, variant, condition, setting.engine)
    classes = open_dataset(settings.label.dataset).meta.classes
    parent = Parent.read(study.pretrained(config, chosen.backbone)) if chosen.pretrained else None
    graded = SEVERITY in chosen.tasks
    return FitSpec(
        **vars(study.fitted(variant, seed, condition)),
        paper=study.PAPER,
        phase=phase,
        title=variant if condition == study.POOLED else f"{variant} · {condition}",
        tags={"network": network.title, "tasks": ", ".join(chosen.tasks), "pretrained": str(chosen.pretrained)},
        settings=settings,
        train=_train(settings, chosen.tasks),
        crop=settings.augment.crop,
        data={settings.task(task).dataset: data for task, data in reading.sources.items()},
        loaders=reading.training(seed),
        network=network,
        task=lambda: _task(config, variant, classes, seed, parent),
        validate=multitask_validation(reading.evaluation("val"), classes, setting.engine),
        parent=parent,
        counts={LUNG_COUNTS[origin]: count for origin, count in reading.lungs("train").items()} if graded else {},
        lungs={"masks": chosen.masks, "segmenter": settings.segmenter} if graded else {},
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
