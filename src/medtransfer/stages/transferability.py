"""``medtransfer transferability STUDY``: what every source model predicts about the target before fine-tuning."""

from argparse import Namespace

from medtransfer import paths
from medtransfer.files import write_text
from medtransfer.params import load_params
from medtransfer.studies import VERBS, module
from medtransfer.training.engine import Engine


def run(options: Namespace) -> None:
    """Write ``out/<study>/results/transferability.csv``: one row per network, chain and fine-tuning seed."""
    params = load_params()
    engine = Engine(params.hardware.model_copy(update={"precision": "fp32"}))
    study = module(options.study, VERBS["transferability"])
    table = study.transferability(params.study(options.study), engine)
    write_text(paths.results(options.study) / "transferability.csv", table.to_csv(index=False))
