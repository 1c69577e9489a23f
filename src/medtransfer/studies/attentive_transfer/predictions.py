"""Predictions of the fine-tuned networks, and of STL-N's own heads on their natural source."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from medtransfer.data.loaders import Loader
from medtransfer.data.packed import PackedDataset
from medtransfer.errors import DataError
from medtransfer.evaluation.predictions import prediction_rows
from medtransfer.models.classifier import Classifier, attention_layers, attention_off
from medtransfer.models.weights import load_model
from medtransfer.studies.attentive_transfer import study
from medtransfer.studies.attentive_transfer.config import ATTENTION_OFF, AttentiveTransferConfig
from medtransfer.studies.base import Fitted
from medtransfer.tracking.views import RunView
from medtransfer.training.engine import Engine
from medtransfer.training.inference import predict
from medtransfer.training.loading import evaluation_loader, open_dataset
from medtransfer.training.task import SupervisedTask

HITS = {"top_1": 1, "top_5": 5}
"""Outputs of STL-N's own head on its source: whether the true class is among so many likeliest ones."""


def fitted(config: AttentiveTransferConfig) -> Iterator[Fitted]:
    """Yield every fine-tuned network of the study."""
    for network in config.networks:
        for chain in config.chains:
            for seed in config.seeds:
                yield Fitted(
                    variant=network,
                    condition=chain,
                    network=network,
                    seed=seed,
                    folder=study.finetuned_folder(network, chain),
                    dataset=config.finetune.dataset,
                )


def comparison(config: AttentiveTransferConfig) -> RunView:
    """Return the view of the tracker's pages that answers the study's question: grouped by attention."""
    return RunView(
        name="Attention against convolution",
        query=f"tags.study = '{study.STUDY}' and tags.phase = 'finetune'",
        group_by="attention",
        metric=f"test/auroc_{config.positive}",
        columns=(f"test/auprc_{config.positive}",),
        tags=("chain_title",),
    )


def predictions(config: AttentiveTransferConfig, engine: Engine) -> Iterator[pd.DataFrame]:
    """Yield the rows of every fit on validation, test and outside images, then those of the sources."""
    own = config.finetune.dataset
    opened = {name: open_dataset(name) for name in (own, *config.outside)}
    for data in opened.values():
        _require_alike(data, opened[own])
    views = [(own, "val"), (own, "test"), *((name, "test") for name in config.outside)]
    crop = config.finetune.augment.crop
    loaders = [evaluation_loader(opened[name], split, crop, engine, trained_on=opened[own]) for name, split in views]
    for fit in fitted(config):
        model, _ = load_model(fit.weights)
        task = SupervisedTask(engine.place(model))
        for loader in loaders:
            yield from _rows(fit, task, loader, opened[own], config.positive, engine)
    if config.start.kind == "train" and any(chain.startswith("stl_n") for chain in config.chains):
        yield from _source_rows(config, engine)


def _require_alike(data: PackedDataset, trained_on: PackedDataset) -> None:
    """Refuse an outside set of other classes, or packed otherwise than what the network was trained on."""
    if set(data.meta.classes) != set(trained_on.meta.classes) or data.meta.pack != trained_on.meta.pack:
        found = f"classes {', '.join(data.meta.classes)} and pack {data.meta.pack.model_dump()}"
        raise DataError(
            f"{data.meta.name}: {found}, not those of {trained_on.meta.name}; give both the same classes and pack"
        )


def _rows(
    fit: Fitted, task: SupervisedTask, loader: Loader, trained_on: PackedDataset, positive: str, engine: Engine
) -> Iterator[pd.DataFrame]:
    """Rows of one network on one split; once more with its ATTN layers switched off, when it has any."""
    data = loader.data
    column, own = trained_on.meta.classes.index(positive), data.meta.classes.index(positive)

    def rows(intervention: str = "") -> pd.DataFrame:
        found = predict(task, loader, engine)
        target = (found["target"] == own).astype(np.float64)
        images = data.manifest.iloc[found["index"]]
        return prediction_rows(
            images,
            found["probability"][:, [column]],
            target[:, None],
            outputs=[positive],
            kind="probability",
            study=study.STUDY,
            variant=fit.variant,
            condition=fit.condition,
            seed=fit.seed,
            intervention=intervention,
        )

    yield rows()
    if isinstance(task.module, Classifier) and attention_layers(task.module):
        with attention_off(task.module):
            yield rows(ATTENTION_OFF)


def _source_rows(config: AttentiveTransferConfig, engine: Engine) -> Iterator[pd.DataFrame]:
    """Rows of STL-N's heads: 1 where the true class is among the likeliest; top-5 needs more than five classes."""
    data = open_dataset(config.stl_n.dataset)
    loader = evaluation_loader(data, "test", config.stl_n.augment.crop, engine)
    hits = {name: k for name, k in HITS.items() if k < len(data.meta.classes)}
    for network in config.networks:
        for seed in config.pretrain_seeds:
            model, _ = load_model(study.pretrained_folder(network, "stl_n") / "weights" / f"seed{seed}")
            found = predict(SupervisedTask(engine.place(model)), loader, engine)
            ahead = (found["probability"] > np.take_along_axis(found["probability"], found["target"][:, None], 1)).sum(
                1
            )
            scores = np.stack([ahead < k for k in hits.values()], axis=1).astype(np.float64)
            images = data.manifest.iloc[found["index"]]
            yield prediction_rows(
                images,
                scores,
                np.full_like(scores, np.nan),
                outputs=list(hits),
                kind="value",
                study=study.STUDY,
                variant=network,
                condition="stl_n",
                seed=seed,
            )
