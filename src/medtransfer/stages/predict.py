"""``medtransfer predict STUDY``: every fine-tuned network on validation, test and outside data, in one table."""

from argparse import Namespace
from collections.abc import Iterator

import numpy as np
import pandas as pd

from medtransfer import paths
from medtransfer.data.loaders import Loader
from medtransfer.data.packed import PackedDataset
from medtransfer.errors import DataError
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
    config, engine = params.attentive_transfer, Engine(params.hardware.model_copy(update={"precision": "fp32"}))
    views = [(config.finetune.dataset, "val"), (config.finetune.dataset, "test")] + [
        (n, "test") for n in config.outside
    ]
    trained_on = open_dataset(config.finetune.dataset)
    opened = {name: open_dataset(name) for name in dict(views)}
    for data in opened.values():
        _require_alike(data, trained_on)
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
                    parts += _rows(task, loader, trained_on, config, engine, names=(network, chain, seed))
                console.print(f"predicted {network} · {chain} · seed {seed}")
    write_predictions(pd.concat(parts, ignore_index=True), paths.OUT / options.study / "predictions.parquet")


def _require_alike(data: PackedDataset, trained_on: PackedDataset) -> None:
    """Refuse an outside set of other classes, or packed otherwise than what the network was trained on."""
    if set(data.meta.classes) != set(trained_on.meta.classes) or data.meta.pack != trained_on.meta.pack:
        found = f"classes {', '.join(data.meta.classes)} and pack {data.meta.pack.model_dump()}"
        raise DataError(
            f"{data.meta.name}: {found}, not those of {trained_on.meta.name}; give both the same classes and pack"
        )


def _rows(
    task: SupervisedTask,
    loader: Loader,
    trained_on: PackedDataset,
    config: AttentiveTransferConfig,
    engine: Engine,
    *,
    names: tuple[str, str, int],
) -> Iterator[pd.DataFrame]:
    """Rows of one network on one split; with its ATTN layers switched off as a second output, when it has any."""
    network, chain, seed = names
    data = loader.data
    column, own = trained_on.meta.classes.index(config.positive), data.meta.classes.index(config.positive)

    def rows(output: str) -> pd.DataFrame:
        found = predict(task, loader, engine)
        return prediction_rows(
            data.manifest.iloc[found["index"]],
            found["probability"][:, [column]],
            (found["target"] == own).astype(np.float64)[:, None],
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
