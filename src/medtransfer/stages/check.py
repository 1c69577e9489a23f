"""``medtransfer check``: validate params.yaml and every profile."""

from argparse import Namespace

from medtransfer import paths
from medtransfer.params import Params, load_params, parse_params
from medtransfer.profiles import with_profile
from medtransfer.studies import module
from medtransfer.training.progress import console


def run(options: Namespace) -> None:
    """Validate all of them and print what the studies would train."""
    del options
    root = paths.workspace()
    params = load_params()
    console.print(f"params.yaml: profile {params.profile}; data sets: {', '.join(params.datasets)}")
    for study in params.studies:
        console.print(f"{study}: {_planned(params, study)}", markup=False)
    for file in sorted((root / paths.PROFILES).glob("*.yaml")):
        parse_params(with_profile(root, file.stem))
        console.print(f"{paths.PROFILES}/{file.name}: valid")


def _planned(params: Params, study: str) -> str:
    """Return variants × conditions of every phase in words."""
    wiring, config = module(study, "study"), params.study(study)
    counts = []
    for phase in wiring.PHASES:
        variants = wiring.variants(config, phase)
        conditions = sum(len(wiring.conditions(config, phase, variant)) for variant in variants)
        counts.append(f"{phase} {len(variants)} variants, {conditions} conditions")
    return "; ".join(counts)
