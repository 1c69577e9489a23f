"""``medtransfer predict STUDY``: every fitted network on validation, test and outside data, in one table."""

from argparse import Namespace
from collections.abc import Iterable, Iterator

import pandas as pd

from medtransfer import paths
from medtransfer.evaluation.predictions import write_predictions
from medtransfer.params import load_params
from medtransfer.studies import VERBS, module
from medtransfer.training.engine import Engine
from medtransfer.training.progress import console


def run(options: Namespace) -> None:
    """Write ``out/<study>/results/predictions.parquet``, fit by fit."""
    params = load_params()
    engine = Engine(params.hardware.model_copy(update={"precision": "fp32"}))
    study = module(options.study, VERBS["predict"])
    parts = study.predictions(params.study(options.study), engine)
    write_predictions(_announced(parts), paths.results(options.study) / "predictions.parquet")


def _announced(parts: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    for rows in parts:
        fit = rows.iloc[0]
        images = f"{fit['dataset']} {fit['split']} · {', '.join(rows['output'].unique())}"
        console.print(f"predicted {fit['variant']} · seed {fit['seed']} · {images}", markup=False, soft_wrap=True)
        yield rows
