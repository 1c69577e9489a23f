"""``medtransfer measure STUDY``: what networks cost, and how far fine-tuning moved them from their start, by depth."""

from argparse import Namespace
from importlib import import_module

from medtransfer import paths
from medtransfer.files import write_json
from medtransfer.params import load_params
from medtransfer.training.engine import Engine


def run(options: Namespace) -> None:
    """Write ``out/<study>/cost.json`` and ``similarity.json``."""
    params = load_params()
    config = getattr(params, options.study)
    engine = Engine(params.hardware.model_copy(update={"precision": "fp32"}))
    study = import_module(f"medtransfer.studies.{options.study}.measurements")
    folder = paths.OUT / options.study
    write_json(folder / "cost.json", study.costs(config, engine))
    write_json(folder / "similarity.json", study.similarity(config, engine))
