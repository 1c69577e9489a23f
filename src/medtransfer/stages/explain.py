"""``medtransfer explain STUDY``: what fine-tuned networks look at, and the regions that self-supervision uses."""

from argparse import Namespace

from medtransfer import paths
from medtransfer.explain.panels import write_panel
from medtransfer.files import write_json
from medtransfer.params import load_params
from medtransfer.studies import VERBS, module
from medtransfer.training.engine import Engine


def run(options: Namespace) -> None:
    """Write the study's panels and ``explanations.json`` below ``out/<study>/results/explanations``."""
    params = load_params()
    engine = Engine(params.hardware.model_copy(update={"precision": "fp32"}))
    study = module(options.study, VERBS["explain"])
    panels, facts = study.explanations(params.study(options.study), engine)
    folder = paths.results(options.study) / "explanations"
    for name, panel in panels.items():
        write_panel(panel, folder / f"{name}.png")
    write_json(folder / "explanations.json", facts)
