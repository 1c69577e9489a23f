"""``medtransfer adopt NAME``: write the values of a search's best trial, or of a named one, into params.yaml."""

from argparse import Namespace

from medtransfer.params import load_params
from medtransfer.training.progress import console
from medtransfer.tuning.adopt import adopt
from medtransfer.tuning.results import read_result


def run(options: Namespace) -> None:
    """Change params.yaml and say what changed."""
    load_params()
    adoption = adopt(read_result(options.name), options.trial)
    for key, value in adoption.values.items():
        console.print(f"{key}: {adoption.former.get(key, 'the default')} -> {value}", markup=False, soft_wrap=True)
    console.print(f"see git diff params.yaml; then: medtransfer confirm {options.name}", markup=False, soft_wrap=True)
