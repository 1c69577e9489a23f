"""``medtransfer start STUDY --network N``: write the untrained weights that chains start from."""

from argparse import Namespace

from medtransfer.params import load_params
from medtransfer.studies.attentive_transfer import study


def run(options: Namespace) -> None:
    """Write one weights folder a seed."""
    study.write_start(load_params().attentive_transfer, options.network)
