"""``medtransfer measure STUDY``: cost of the networks, and how far fine-tuning moved them from their start."""

from argparse import Namespace

from medtransfer import paths
from medtransfer.files import write_json
from medtransfer.params import load_params
from medtransfer.studies import VERBS, module
from medtransfer.training.engine import Engine


def run(options: Namespace) -> None:
    """Write ``cost.json`` and ``similarity.json`` below ``out/<study>/results``."""
    params = load_params()
    config = params.study(options.study)
    engine = Engine(params.hardware.model_copy(update={"precision": "fp32"}))
    study = module(options.study, VERBS["measure"])
    folder = paths.results(options.study)
    write_json(folder / "cost.json", study.costs(config, engine))
    write_json(folder / "similarity.json", study.similarity(config, engine))
