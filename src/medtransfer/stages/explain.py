"""``medtransfer explain STUDY``: a gallery of networks and cases with scored maps, and panels of the study's own."""

from argparse import Namespace

from medtransfer import paths
from medtransfer.explain.panels import write_panel
from medtransfer.files import remove_made, write_json
from medtransfer.params import load_params
from medtransfer.studies import VERBS, module
from medtransfer.training.engine import Engine
from medtransfer.training.gallery import write_gallery

MADE = ("tiles", "sheets", "gallery.json")
"""Contents of the gallery's folder; a folder that holds anything else is not replaced."""


def run(options: Namespace) -> None:
    """Write ``gallery/`` with its facts, and panels with ``explanations.json``, below ``results/explanations``."""
    params = load_params()
    engine = Engine(params.hardware.model_copy(update={"precision": "fp32"}))
    study, config = module(options.study, VERBS["explain"]), params.study(options.study)
    folder = paths.explanations(options.study)
    if hasattr(study, "explanations"):
        panels, facts = study.explanations(config, engine)
        for name, panel in panels.items():
            write_panel(panel, folder / f"{name}.png")
        write_json(folder / "explanations.json", facts)
    asked, gallery = study.explained(config), folder / "gallery"
    remove_made(gallery, MADE)
    found = write_gallery(gallery, asked.networks, dataset=asked.dataset, positive=asked.positive, engine=engine)
    write_json(gallery / "gallery.json", found)
