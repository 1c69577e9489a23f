"""Predictions of both heads on validation and test images, and who competes for the registered model."""

from collections.abc import Iterator

import pandas as pd

from medtransfer.models.weights import load_model
from medtransfer.studies.base import Contest, FittedModel
from medtransfer.studies.two_heads import study
from medtransfer.studies.two_heads.config import TwoHeadsConfig
from medtransfer.tracking.views import RunView
from medtransfer.training.engine import Engine
from medtransfer.training.inference import predicted_rows
from medtransfer.training.loading import evaluation_loader, open_dataset


def fitted(config: TwoHeadsConfig) -> Iterator[FittedModel]:
    """Yield every network."""
    for network in config.networks:
        for seed in config.seeds:
            yield FittedModel(**vars(study.fitted(network, seed)), network=network, dataset=config.multitask.dataset)


def predictions(config: TwoHeadsConfig, engine: Engine) -> Iterator[pd.DataFrame]:
    """Yield the rows of both heads, network by network."""
    data, crop = open_dataset(config.multitask.dataset), config.multitask.augment.crop
    loaders = [evaluation_loader(data, split, crop, engine) for split in ("val", "test")]
    for model in fitted(config):
        network, description = load_model(model.weights)
        engine.place(network)
        names = {"study": model.study, "variant": model.variant, "condition": model.condition}
        for loader in loaders:
            yield predicted_rows(network, description["heads"], loader, engine, **names, seed=model.seed)


def comparison(config: TwoHeadsConfig) -> RunView:
    """Return the view of the tracker's pages that answers the study's question."""
    del config
    return RunView(
        name="Two heads",
        query=f"tags.study = '{study.NAME}'",
        group_by="network",
        metric="test/macro_auroc",
        columns=("test/mae_severity",),
    )


def contests(config: TwoHeadsConfig) -> tuple[Contest, ...]:
    """Return the one contest: every network, by the diagnosis."""
    fits = tuple((network, study.SCRATCH) for network in config.networks)
    return (Contest(model=config.model, dataset=config.multitask.dataset, metric="macro_auroc", fits=fits),)
