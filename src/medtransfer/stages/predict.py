"""``medtransfer predict STUDY``: every fine-tuned network on validation, test and outside data, in one table."""

from argparse import Namespace
from collections.abc import Iterator

import numpy as np
import pandas as pd

from medtransfer import paths
from medtransfer.data.loaders import Loader
from medtransfer.evaluation.predictions import prediction_rows, write_predictions
from medtransfer.models.classifier import Classifier, attention_layers, attention_off
from medtransfer.models.weights import load_model
from medtransfer.params import load_params
from medtransfer.studies.attentive_transfer import study
from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig
from medtransfer.training.engine import Engine
from medtransfer.training.inference import predict
from medtransfer.training.loading import evaluation_loader, open_dataset
from medtransfer.training.progress import console
from medtransfer.training.task import SupervisedTask

ATTENTION_OFF = "_attention_off"


def run(options: Namespace) -> None:
    """Write ``out/<study>/predictions.parquet``."""
    params = load_params()
    config, engine = params.attentive_transfer, Engine(params.hardware)
    views = [(config.finetune.dataset, "val"), (config.finetune.dataset, "test")] + [
        (n, "test") for n in config.outside
    ]
    trained_on = open_dataset(config.finetune.dataset)
    opened = {name: open_dataset(name) for name in dict(views)}
    parts: list[pd.DataFrame] = []
    for network in config.networks:
        for chain in config.chains:
            for seed in config.seeds:
                folder = study.finetuned_folder(network, chain) / "weights" / f"seed{seed}"
                model, _ = load_model(folder)
                task = SupervisedTask(engine.place(model))
                for name, split in views:
                    loader = evaluation_loader(
                        opened[name], split, config.finetune.augment.crop, engine, trained_on=trained_on
                    )
                    parts += _rows(task, loader, config, engine, names=(network, chain, seed))
                console.print(f"predicted {network} · {chain} · seed {seed}")
    write_predictions(pd.concat(parts, ignore_index=True), paths.OUT / options.study / "predictions.parquet")


def _rows(
    task: SupervisedTask,
    loader: Loader,
    config: AttentiveTransferConfig,
    engine: Engine,
    *,
    names: tuple[str, str, int],
) -> Iterator[pd.DataFrame]:
    """Rows of one network on one split; with its ATTN layers switched off as a second output, when it has any."""
    network, chain, seed = names
    data = loader.data
    column = list(data.meta.classes).index(config.positive)

    def rows(output: str) -> pd.DataFrame:
        found = predict(task, loader, engine)
        return prediction_rows(
            data.manifest.iloc[found["index"]],
            found["probability"][:, [column]],
            (found["target"] == column).astype(np.float64)[:, None],
            outputs=[output],
            kind="probability",
            study=study.STUDY,
            variant=f"{network}-{chain}",
            network=network,
            chain=chain,
            seed=seed,
        )

    yield rows(config.positive)
    if isinstance(task.module, Classifier) and attention_layers(task.module):
        with attention_off(task.module):
            yield rows(config.positive + ATTENTION_OFF)
