"""``medtransfer check``: params.yaml and every profile are valid."""

from argparse import Namespace

from medtransfer import paths
from medtransfer.params import load_params, parse_params
from medtransfer.stages.workspace import with_profile
from medtransfer.training.progress import console


def run(options: Namespace) -> None:
    """Validate and say what was found."""
    root = paths.workspace()
    params = load_params()
    study = params.attentive_transfer
    fits = len(study.networks) * (len(study.chains) * len(study.seeds) + len(study.pretrain_seeds))
    console.print(f"params.yaml: profile {params.profile}, {len(study.networks)} networks, {len(study.chains)} chains")
    console.print(f"at least {fits} fits; data sets: {', '.join(params.datasets)}")
    for file in sorted((root / paths.PROFILES).glob("*.yaml")):
        parse_params(with_profile(root, file.stem))
        console.print(f"profiles/{file.name}: valid")
