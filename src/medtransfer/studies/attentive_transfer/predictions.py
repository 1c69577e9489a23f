"""Predictions of the fine-tuned networks, and of STL-N's own heads on their natural source."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from medtransfer.data.loaders import Loader
from medtransfer.data.packed import PackedDataset
from medtransfer.errors import DataError
from medtransfer.evaluation.interventions import INSERTED_OFF
from medtransfer.evaluation.predictions import prediction_rows
from medtransfer.models.classifier import Classifier, inserted_layers, inserted_off
from medtransfer.models.heads import Heads
from medtransfer.models.weights import load_model
from medtransfer.paths import FitPaths
from medtransfer.studies.attentive_transfer import study
from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig
from medtransfer.studies.base import Contest, FittedModel
from medtransfer.tracking.views import FIT, IN_PLACE, RunView
from medtransfer.training.engine import Engine
from medtransfer.training.inference import predict_heads
from medtransfer.training.loading import evaluation_loader, open_dataset

SOURCE = "source"
"""The condition of predictions by STL-N's own head on its source."""
HITS = {"top_1": 1, "top_5": 5}
"""Outputs of STL-N's own head on its source: whether the true class is among the k most likely."""


def fitted(config: AttentiveTransferConfig) -> Iterator[FittedModel]:
    """Yield every fine-tuned network of the study."""
    for network in config.networks:
        for chain in config.chains_of(network):
            for seed in config.seeds:
                yield _model(study.finetuned(network, chain, seed), config.finetune.dataset)


def comparison(config: AttentiveTransferConfig) -> RunView:
    """Return the view of the tracker's pages that answers the study's question: grouped by network and chain."""
    return RunView(
        name="Attention against convolution",
        query=f"tags.study = '{study.NAME}' and tags.phase = 'finetune' and {IN_PLACE}",
        group_by=FIT,
        metric=f"test/auroc_{config.positive}",
        columns=(f"test/auprc_{config.positive}",),
    )


def contests(config: AttentiveTransferConfig) -> tuple[Contest, ...]:
    """Return the one contest: every network after every chain, by AUROC."""
    return (Contest(model=config.model, dataset=config.finetune.dataset, metric="auroc", fits=config.compared),)


def predictions(config: AttentiveTransferConfig, engine: Engine) -> Iterator[pd.DataFrame]:
    """Yield the rows of every fit on validation, test and outside images, then the rows of the sources."""
    own = config.finetune.dataset
    opened = {name: open_dataset(name) for name in (own, *config.outside)}
    for data in opened.values():
        _require_alike(data, opened[own])
    views = [(own, "val"), (own, "test"), *((name, "test") for name in config.outside)]
    crop = config.finetune.augment.crop
    loaders = [evaluation_loader(opened[name], split, crop, engine, trained_on=opened[own]) for name, split in views]
    for model in fitted(config):
        network, description = load_model(model.weights)
        engine.place(network)
        for loader in loaders:
            yield from _rows(model, network, description["heads"], loader, config.positive, engine)
    if config.start.kind == "train" and any(chain.startswith("stl_n") for chain in config.chains):
        yield from _source_rows(config, engine)


def _model(fit: FitPaths, dataset: str) -> FittedModel:
    return FittedModel(**vars(fit), network=fit.variant, dataset=dataset)


def _require_alike(data: PackedDataset, trained_on: PackedDataset) -> None:
    """Refuse an outside set whose classes or packing differ from those of the training set."""
    if set(data.meta.classes) != set(trained_on.meta.classes) or data.meta.pack != trained_on.meta.pack:
        its_own = f"classes {', '.join(data.meta.classes)} and pack {data.meta.pack.model_dump()}"
        raise DataError(
            f"{data.meta.name}: {its_own}, not those of {trained_on.meta.name}; give both the same classes and pack"
        )


def _rows(
    model: FittedModel, network: Classifier, heads: Heads, loader: Loader, positive: str, engine: Engine
) -> Iterator[pd.DataFrame]:
    """Yield the rows of one network on one split, and again with its inserted layers switched off if it has any."""
    data = loader.data
    column, own = heads["label"].outputs.index(positive), data.meta.classes.index(positive)

    def rows(intervention: str) -> pd.DataFrame:
        scores = predict_heads(network, heads, loader, engine)
        target = (scores["target"] == own).astype(np.float64)
        images = data.entries(scores["index"])
        probability = scores["label"][:, [column]]
        return _table(model, images, probability, target[:, None], [positive], "probability", intervention)

    yield rows("")
    if inserted_layers(network):
        with inserted_off(network):
            yield rows(INSERTED_OFF)


def _source_rows(config: AttentiveTransferConfig, engine: Engine) -> Iterator[pd.DataFrame]:
    """Yield rows of STL-N's heads: 1 where the true class is in the top k; top-5 needs more than five classes."""
    data = open_dataset(config.stl_n.dataset)
    loader = evaluation_loader(data, "test", config.stl_n.augment.crop, engine)
    hits = {name: k for name, k in HITS.items() if k < len(data.meta.classes)}
    for name in config.networks:
        for seed in config.pretrain_seeds:
            fit = study.source(name, "stl_n", seed)
            network, description = load_model(fit.weights)
            scores = predict_heads(engine.place(network), description["heads"], loader, engine)
            true = np.take_along_axis(scores["label"], scores["target"][:, None], 1)
            ahead = (scores["label"] > true).sum(1)
            values = np.stack([ahead < k for k in hits.values()], axis=1).astype(np.float64)
            images = data.entries(scores["index"])
            model = _model(replace(fit, condition=SOURCE), data.meta.name)
            yield _table(model, images, values, np.full_like(values, np.nan), list(hits), "value")


def _table(
    model: FittedModel,
    images: pd.DataFrame,
    scores: np.ndarray,
    targets: np.ndarray,
    outputs: Sequence[str],
    kind: Literal["probability", "value"],
    intervention: str = "",
) -> pd.DataFrame:
    return prediction_rows(
        images,
        scores,
        targets,
        outputs=outputs,
        kind=kind,
        study=model.study,
        variant=model.variant,
        condition=model.condition,
        seed=model.seed,
        intervention=intervention,
    )
