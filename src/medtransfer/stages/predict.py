"""``medtransfer predict STUDY``: every fitted network on validation, test and outside data, in one table.

With ``--model`` the verb answers images: ``stages/answer.py``.
"""

from argparse import Namespace
from collections.abc import Iterable, Iterator
from importlib import import_module

import pandas as pd

from medtransfer import paths
from medtransfer.errors import ConfigError
from medtransfer.evaluation.indifferent import same_score
from medtransfer.evaluation.predictions import write_predictions
from medtransfer.params import load_params
from medtransfer.studies import VERBS, module, with_verb
from medtransfer.training.engine import Engine
from medtransfer.training.progress import console


def run(options: Namespace) -> None:
    """Write ``out/<study>/results/predictions.parquet``, fit by fit.

    Raises:
        ConfigError: there is no such study, or there are images or a folder of maps and no model.
    """
    if options.model is not None:
        import_module("medtransfer.stages.answer").run(options)  # by name, so that no stage depends on its code
        return
    if options.out is not None:
        raise ConfigError("predict: --out is the folder of maps and needs images and --model; leave it out for a study")
    known = with_verb("predict")
    if wrong := [word for word in (options.study, *options.more) if word not in known] or options.more:
        raise ConfigError(
            f"predict: {wrong[0]!r}: expected a study ({', '.join(known)}), or images and --model NAME@ALIAS"
        )
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
        for output, part in rows[rows["intervention"] == ""].groupby("output", sort=False):
            if same := same_score(part):
                console.print(f"  warning: for {output}, {same}", markup=False, soft_wrap=True)
        yield rows
