"""Predictions of every column and tried augmentation on validation and test images, and of the floors beside them."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from medtransfer.data.packed import PackedDataset
from medtransfer.evaluation.predictions import prediction_rows
from medtransfer.models.weights import load_model
from medtransfer.studies.base import Contest, FittedModel
from medtransfer.studies.visual_transfer import study
from medtransfer.studies.visual_transfer.config import VisualTransferConfig
from medtransfer.studies.visual_transfer.floors import floors
from medtransfer.studies.visual_transfer.images import normalization_in, targets_of, view_of
from medtransfer.tracking.views import FIT, IN_PLACE, RunView
from medtransfer.training.engine import Engine
from medtransfer.training.inference import predict_heads
from medtransfer.training.loading import open_dataset

SPLITS = ("val", "test")


def fitted(config: VisualTransferConfig) -> Iterator[FittedModel]:
    """Yield every fit; those of a base without weights are left out."""
    for variant in config.variants:
        if study.available(config, variant):
            for seed in config.seeds_of(variant):
                yield FittedModel(
                    **vars(study.fitted(variant, seed)), network=config.network(variant).title, dataset=config.dataset
                )


def comparison(config: VisualTransferConfig) -> RunView:
    """Return the view of the tracker's pages that answers the study's question: grouped by column."""
    return RunView(
        name="Pretraining nearer the domain",
        query=f"tags.study = '{study.NAME}' and tags.phase = '{study.FINETUNE}' and {IN_PLACE}",
        group_by=FIT,
        metric=f"test/auroc_{config.positive}",
        columns=(f"test/auprc_{config.positive}",),
    )


def contests(config: VisualTransferConfig) -> tuple[Contest, ...]:
    """Return the one contest: every column with weights, by AUROC."""
    columns = [name for name in config.columns if name in config.variants and study.available(config, name)]
    fits = tuple((name, study.AGAINST_REST) for name in columns)
    return (Contest(model=config.model, dataset=config.dataset, metric="auroc", fits=fits),)


def predictions(config: VisualTransferConfig, engine: Engine) -> Iterator[pd.DataFrame]:
    """Yield the rows of every fit, then those of the floors."""
    data = open_dataset(config.dataset)
    for model in fitted(config):
        network, description = load_model(model.weights)
        engine.place(network)
        for split in SPLITS:
            loader = view_of(data, split, config, normalization_in(description), engine)
            found = predict_heads(network, description["heads"], loader, engine)
            yield _rows(config, data, found["index"], found["label"], model.variant, model.seed)
    for name, rows, scores in floors(config, data, engine):
        yield _rows(config, data, rows, scores[:, None], name, config.seeds[0])


def _rows(
    config: VisualTransferConfig,
    data: PackedDataset,
    index: npt.NDArray[np.int64],
    scores: npt.NDArray[np.floating],
    variant: str,
    seed: int,
) -> pd.DataFrame:
    return prediction_rows(
        data.entries(index),
        scores,
        targets_of(data, config.positive)[index],
        outputs=(config.positive,),
        kind="probability",
        study=study.NAME,
        variant=variant,
        condition=study.AGAINST_REST,
        seed=seed,
    )
