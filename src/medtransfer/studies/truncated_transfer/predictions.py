"""Predictions of the fine-tuned networks on the validation and test images of their own task and regime."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from medtransfer.data.loaders import Loader
from medtransfer.data.regimes import under_regime
from medtransfer.evaluation.predictions import prediction_rows
from medtransfer.models.weights import load_model
from medtransfer.studies.base import Contest, FittedModel
from medtransfer.studies.truncated_transfer import study
from medtransfer.studies.truncated_transfer.config import Condition, TaskConfig, TruncatedTransferConfig
from medtransfer.tracking.views import FIT, IN_PLACE, RunView
from medtransfer.training.engine import Engine
from medtransfer.training.inference import predict_heads
from medtransfer.training.loading import evaluation_loader, open_dataset


def fitted(config: TruncatedTransferConfig) -> Iterator[FittedModel]:
    """Yield every fine-tuned network, condition by condition; trials are left out."""
    for condition in config.conditions():
        for variant in config.variants:
            for seed in config.seeds:
                yield _model(config, variant, condition, seed)


def comparison(config: TruncatedTransferConfig) -> RunView:
    """Return the view in the tracker's pages that answers the study's question: grouped by network and setting."""
    del config
    return RunView(
        name="Networks cut early",
        query=f"tags.study = '{study.NAME}' and tags.phase = 'finetune' and {IN_PLACE}",
        group_by=FIT,
        metric="best/auprc",
        columns=("best/auroc",),
    )


def contests(config: TruncatedTransferConfig) -> tuple[Contest, ...]:
    """Return one contest per task, by AUPRC, of all fits that share their validation images."""
    contests = []
    for name, task in config.tasks.items():
        alike = [c for c in config.conditions() if c.task == name and not config.thins_validation(c)]
        fits = tuple((variant, condition.name) for condition in alike for variant in config.variants)
        if fits:
            model = f"{name.replace('_', '-')}-truncated"
            contests.append(Contest(model=model, dataset=task.dataset, metric="auprc", fits=fits))
    return tuple(contests)


def predictions(config: TruncatedTransferConfig, engine: Engine) -> Iterator[pd.DataFrame]:
    """Yield the rows of every fit on the validation and test images of its task under its regime."""
    opened = {task.dataset: open_dataset(task.dataset) for task in config.tasks.values()}
    for condition in config.conditions():
        task, regime = config.tasks[condition.task], config.regimes[condition.regime]
        for seed in config.seeds:
            crop, findings = config.augment.crop, task.findings
            data = under_regime(opened[task.dataset], regime, positive=task.positive, findings=findings, seed=seed)
            loaders = [evaluation_loader(data, split, crop, engine, outputs=findings) for split in ("val", "test")]
            for variant in config.variants:
                model = _model(config, variant, condition, seed)
                network, description = load_model(model.weights)
                engine.place(network)
                for loader in loaders:
                    scores = predict_heads(network, description["heads"], loader, engine)
                    yield _rows(model, loader, scores, task)


def _model(config: TruncatedTransferConfig, variant: str, condition: Condition, seed: int) -> FittedModel:
    return FittedModel(
        **vars(study.fitted(variant, condition.name, seed)),
        network=config.variant(variant).network,
        dataset=config.tasks[condition.task].dataset,
        neg_pos_ratio=config.neg_pos_ratio(condition),
    )


def _rows(model: FittedModel, loader: Loader, scores: Mapping[str, np.ndarray], task: TaskConfig) -> pd.DataFrame:
    """Return the rows of a task's outputs: its findings, or its positive class."""
    if task.findings:
        outputs, chosen, targets = task.findings, scores["findings"], scores["target"]
    else:
        column = loader.data.meta.classes.index(task.positive)
        outputs, chosen = (task.positive,), scores["label"][:, [column]]
        targets = (scores["target"] == column).astype(np.float64)[:, None]
    return prediction_rows(
        loader.data.entries(scores["index"]),
        chosen,
        targets,
        outputs=outputs,
        kind="probability",
        study=model.study,
        variant=model.variant,
        condition=model.condition,
        seed=model.seed,
    )
