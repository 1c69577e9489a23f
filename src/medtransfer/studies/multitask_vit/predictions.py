"""Predictions of every network on the validation and test images of its tasks, with the severity score 0–6."""

from collections.abc import Iterator

import pandas as pd

from medtransfer.data.loaders import Loader
from medtransfer.evaluation.severity import score_rows
from medtransfer.models.multitask import LABEL, SEVERITY
from medtransfer.models.weights import load_model
from medtransfer.studies.base import Contest, FittedModel
from medtransfer.studies.multitask_vit import study
from medtransfer.studies.multitask_vit.config import MultitaskVitConfig
from medtransfer.studies.multitask_vit.floors import floors
from medtransfer.studies.multitask_vit.reading import Reading
from medtransfer.tracking.views import IN_PLACE, RunView
from medtransfer.training.engine import Engine
from medtransfer.training.inference import predicted_rows


def fitted(config: MultitaskVitConfig) -> Iterator[FittedModel]:
    """Yield every network."""
    for variant, chosen in config.variants.items():
        dataset = config.finetune.task(chosen.tasks[0]).dataset
        for condition in study.conditions(config, study.FINETUNE, variant):
            for seed in config.seeds:
                yield FittedModel(
                    **vars(study.fitted(variant, seed, condition)),
                    network=config.network(variant).title,
                    dataset=dataset,
                )


def predictions(config: MultitaskVitConfig, engine: Engine) -> Iterator[pd.DataFrame]:
    """Yield the rows of every network: classes, zones, and the score that the zones add up to; then the floors.

    A network without a hospital grades all images of this hospital, which count as test images.
    """
    for model in fitted(config):
        reading = Reading.open(config, model.variant, model.condition, engine)
        if model.condition == study.POOLED:
            seen = [reading.evaluation(split) for split in ("val", "test")]
            loaders = [(task, loader) for split in seen for task, loader in split.items()]
            yield from _predicted(model, loaders, engine)
        else:
            for rows in _predicted(model, [(SEVERITY, reading.held_out())], engine):
                yield rows.assign(split="test")
    yield from floors(config, engine)


def _predicted(model: FittedModel, loaders: list[tuple[str, Loader]], engine: Engine) -> Iterator[pd.DataFrame]:
    network, description = load_model(model.weights)
    engine.place(network)
    names = {"study": model.study, "variant": model.variant, "condition": model.condition}
    for task, loader in loaders:
        heads = {task: description["heads"][task]}
        rows = predicted_rows(network, heads, loader, engine, **names, seed=model.seed)
        yield rows
        if task == SEVERITY:
            yield score_rows(rows)


def comparison(config: MultitaskVitConfig) -> RunView:
    """Return the view of the tracker's pages that answers the study's question."""
    del config
    return RunView(
        name="Multi-task ViT",
        query=f"tags.study = '{study.NAME}' and tags.phase = '{study.FINETUNE}' and {IN_PLACE}",
        group_by="variant",
        metric="best/macro_auroc",
        columns=("best/mse_score",),
        tags=("tasks", "pretrained"),
    )


def contests(config: MultitaskVitConfig) -> tuple[Contest, ...]:
    """Return the one contest: networks that do both tasks, by the mean AUROC over the classes."""
    both = [name for name, chosen in config.variants.items() if {LABEL, SEVERITY} <= set(chosen.tasks)]
    fits = tuple((name, study.POOLED) for name in both)
    contest = Contest(model=config.model, dataset=config.finetune.label.dataset, metric="auroc", fits=fits)
    return (contest,) if fits else ()
