"""Floors: what a network has to beat. A constant, and linear models of thumbnails and of frozen ready-made features.

They are fitted on training rows; the strength of their penalty is chosen on validation rows. Nothing is drawn.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch.nn.functional as F
from torch import Tensor, nn

from medtransfer.data.manifest import ZONES
from medtransfer.data.packed import PackedDataset
from medtransfer.evaluation.predictions import prediction_rows
from medtransfer.evaluation.severity import severity_score
from medtransfer.models.multitask import LABEL, SEVERITY
from medtransfer.models.weights import load_model
from medtransfer.studies.multitask_vit import study
from medtransfer.studies.multitask_vit.config import MultitaskVitConfig
from medtransfer.training.engine import Engine
from medtransfer.training.inference import collect
from medtransfer.training.loading import evaluation_loader, open_dataset
from medtransfer.training.task import Batch

FLOOR = "floor"
"""The condition of all floors."""
CONSTANT, THUMBNAILS, FROZEN = "constant", "thumbnails", "frozen"
PENALTIES = tuple(10.0**power for power in range(-2, 7))
"""Of the squared weights of standardised features, relative to the summed error of the training rows."""

Array = npt.NDArray[np.float64]
Reader = Callable[[Batch], Mapping[str, Tensor]]
Split = Mapping[str, np.ndarray]
"""``index``, ``target`` and ``features`` of the rows of a split."""


def floors(config: MultitaskVitConfig, engine: Engine) -> Iterator[pd.DataFrame]:
    """Yield the rows of every floor for every task of the study, on validation and test images.

    The constant has no diagnosis: its AUROC is 0.5.
    """
    readers: dict[str, tuple[nn.Module, Reader]] = {
        THUMBNAILS: (nn.Identity(), lambda batch: {"features": thumbnails(batch["image"], config.floors.thumbnail)})
    }
    if config.floors.frozen:
        model, _ = load_model(study.backbone(config.floors.frozen, study.READY).weights)
        readers[FROZEN] = (engine.place(model), lambda batch: {"features": model.features(batch["image"])})
    wanted = {task for chosen in config.variants.values() for task in chosen.tasks}
    for task in (name for name in (LABEL, SEVERITY) if name in wanted):
        data = open_dataset(config.finetune.task(task).dataset)
        for number, (name, (module, reader)) in enumerate(readers.items()):
            splits = {split: _read(data, task, split, module, reader, config, engine) for split in study.SPLITS}
            if number == 0 and task == SEVERITY:
                yield from _rows(CONSTANT, data, task, splits, _constant)
            yield from _rows(name, data, task, splits, _linear if task == SEVERITY else _logistic)


def thumbnails(images: Tensor, side: int) -> Tensor:
    """Return the pixels of small images ``[batch, side²]``, each the mean of an area; one channel of equal three."""
    return F.adaptive_avg_pool2d(images[:, :1], side).flatten(1)


def _read(
    data: PackedDataset,
    task: str,
    split: str,
    module: nn.Module,
    reader: Reader,
    config: MultitaskVitConfig,
    engine: Engine,
) -> Split:
    outputs = ZONES if task == SEVERITY else ()
    loader = evaluation_loader(data, split, config.finetune.augment.crop, engine, outputs=outputs)
    return collect(module, reader, loader, engine)


def _rows(
    name: str,
    data: PackedDataset,
    task: str,
    splits: Mapping[str, Split],
    fit: Callable[[Array, Array, Array, Array], Callable[[Array], Array]],
) -> Iterator[pd.DataFrame]:
    """Fit on rows whose target is known and yield the predictions."""
    classes = data.meta.classes if task == LABEL else ("score",)
    targets = {split: _target(part["target"], task, len(classes)) for split, part in splits.items()}
    known = {split: ~np.isnan(target).any(axis=1) for split, target in targets.items()}
    features = {split: np.asarray(part["features"], np.float64) for split, part in splits.items()}
    centre, scale = features["train"].mean(0), features["train"].std(0)
    features = {split: (values - centre) / np.where(scale > 0, scale, 1) for split, values in features.items()}
    seen = [(features[split][known[split]], targets[split][known[split]]) for split in ("train", "val")]
    model = fit(*seen[0], *seen[1])
    for split in ("val", "test"):
        yield prediction_rows(
            data.entries(splits[split]["index"]),
            model(features[split]),
            targets[split],
            outputs=classes,
            kind="probability" if task == LABEL else "value",
            study=study.NAME,
            variant=name,
            condition=FLOOR,
            seed=0,
        )


def _target(target: np.ndarray, task: str, classes: int) -> Array:
    """Return one-hot classes, or the severity score from 0 to 6 in one column."""
    if task == LABEL:
        one_hot: Array = np.eye(classes)[target]
        return one_hot
    unknown = np.isnan(target).any(axis=1)
    return np.where(unknown, np.nan, severity_score(target > 0))[:, None]


def _constant(x: Array, y: Array, x_val: Array, y_val: Array) -> Callable[[Array], Array]:
    del x, x_val, y_val
    return lambda features: np.tile(y.mean(0), (len(features), 1))


def _linear(x: Array, y: Array, x_val: Array, y_val: Array) -> Callable[[Array], Array]:
    """Return ridge regression within the range of scores; the penalty with the least error of the validation rows."""
    from sklearn.linear_model import Ridge

    models = [Ridge(alpha=penalty).fit(x, y[:, 0]) for penalty in PENALTIES]

    def score(model: Ridge, features: Array) -> Array:
        within: Array = np.clip(np.asarray(model.predict(features)), 0, len(ZONES))
        return within

    best = min(models, key=lambda model: float(((score(model, x_val) - y_val[:, 0]) ** 2).mean()))
    return lambda features: score(best, features).reshape(-1, 1)


def _logistic(x: Array, y: Array, x_val: Array, y_val: Array) -> Callable[[Array], Array]:
    """Return one logistic regression per class, as a network has one sigmoid per class; penalties by log loss."""
    classes = [_logistic_of(x, y[:, place], x_val, y_val[:, place]) for place in range(y.shape[1])]
    return lambda features: np.stack([one(features) for one in classes], axis=1)


def _logistic_of(x: Array, y: Array, x_val: Array, y_val: Array) -> Callable[[Array], Array]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    models = [LogisticRegression(C=1 / penalty, max_iter=300).fit(x, y) for penalty in PENALTIES[2:]]
    best = min(models, key=lambda model: float(log_loss(y_val, model.predict_proba(x_val)[:, 1], labels=[0, 1])))
    return lambda features: np.asarray(best.predict_proba(features)[:, 1])
