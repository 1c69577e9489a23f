"""Predictions of the fitted networks on validation and test images of their own task and regime."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from medtransfer.evaluation.predictions import prediction_rows
from medtransfer.models.weights import load_model
from medtransfer.studies.base import Fitted
from medtransfer.studies.truncated_transfer import study
from medtransfer.studies.truncated_transfer.config import Condition, TaskConfig, TruncatedTransferConfig
from medtransfer.tracking.views import RunView
from medtransfer.training.engine import Engine
from medtransfer.training.inference import predict
from medtransfer.training.loading import evaluation_loader, open_dataset
from medtransfer.training.task import MultiLabelTask, SupervisedTask


def fitted(config: TruncatedTransferConfig) -> Iterator[Fitted]:
    """Yield every network that counts, condition by condition; trials are left out."""
    for condition in config.conditions():
        for variant in config.variants:
            for seed in config.seeds:
                yield _fit(config, variant, condition, seed)


def comparison(config: TruncatedTransferConfig) -> RunView:
    """Return the view of the tracker's pages that answers the study's question: grouped by network, best AUPRC."""
    return RunView(
        name="Networks cut early",
        query=f"tags.study = '{study.STUDY}' and tags.phase = 'finetune'",
        group_by="network",
        metric="best/auprc",
        columns=("best/auroc",),
        tags=("strategy", "regime", "task"),
    )


def predictions(config: TruncatedTransferConfig, engine: Engine) -> Iterator[pd.DataFrame]:
    """Yield the rows of every fit on the validation and test images of its task under its regime."""
    opened = {task.dataset: open_dataset(task.dataset) for task in config.tasks.values()}
    for condition in config.conditions():
        task, regime = config.tasks[condition.task], config.regimes[condition.regime]
        for seed in config.seeds:
            data = study.under_regime(opened[task.dataset], task, regime, seed)
            crop, findings = config.augment.crop, task.findings
            loaders = [evaluation_loader(data, split, crop, engine, findings=findings) for split in ("val", "test")]
            for variant in config.variants:
                fit = _fit(config, variant, condition, seed)
                model, _ = load_model(fit.weights)
                kind = MultiLabelTask if findings else SupervisedTask
                for loader in loaders:
                    found = predict(kind(engine.place(model)), loader, engine)
                    images = data.manifest.iloc[found["index"]]
                    yield _rows(fit, images, *_asked(found, task, data.meta.classes), task=task)


def _fit(config: TruncatedTransferConfig, variant: str, condition: Condition, seed: int) -> Fitted:
    return Fitted(
        variant=variant,
        condition=condition.name,
        network=config.variant(variant).network,
        seed=seed,
        folder=study.finetuned_folder(variant) / condition.name,
        dataset=config.tasks[condition.task].dataset,
        neg_pos_ratio=config.neg_pos_ratio(condition),
    )


def _asked(found: dict[str, np.ndarray], task: TaskConfig, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and targets ``[images, outputs]`` of what the task asks for."""
    if task.findings:
        return found["probability"], found["target"]
    column = classes.index(task.positive)
    return found["probability"][:, [column]], (found["target"] == column).astype(np.float64)[:, None]


def _rows(
    fit: Fitted, images: pd.DataFrame, scores: np.ndarray, targets: np.ndarray, *, task: TaskConfig
) -> pd.DataFrame:
    return prediction_rows(
        images,
        scores,
        targets,
        outputs=task.findings or (task.positive,),
        kind="probability",
        study=study.STUDY,
        variant=fit.variant,
        condition=fit.condition,
        seed=fit.seed,
    )
