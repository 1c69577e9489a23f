"""``medtransfer transferability STUDY``: what every source model knows of the target before it is fine-tuned."""

from argparse import Namespace
from importlib import import_module

from medtransfer import paths
from medtransfer.files import write_text
from medtransfer.params import load_params
from medtransfer.training.engine import Engine


def run(options: Namespace) -> None:
    """Write ``out/<study>/transferability.csv``: a row a network, chain and fine-tuning seed."""
    params = load_params()
    engine = Engine(params.hardware.model_copy(update={"precision": "fp32"}))
    study = import_module(f"medtransfer.studies.{options.study}.transferability")
    table = study.transferability(getattr(params, options.study), engine)
    write_text(paths.OUT / options.study / "transferability.csv", table.to_csv(index=False))
