"""``medtransfer check``: validate params.yaml and every profile, and look for all that they name."""

from argparse import Namespace

from medtransfer import paths
from medtransfer.errors import ConfigError
from medtransfer.params import Params, parse_params, read_tree
from medtransfer.profiles import with_profile
from medtransfer.stages.faults import find_faults, not_here, studies_of
from medtransfer.studies import module
from medtransfer.training.progress import console


def run(options: Namespace) -> None:
    """Print what the studies would train; what params.yaml names must be here, of a profile's data it is said.

    Raises:
        ConfigError: one line per fault.
    """
    del options
    root, faults = paths.workspace(), list[str]()
    tree = read_tree(root / paths.PARAMS)
    params = parse_params(tree)
    _say(f"params.yaml: profile {params.profile}; data sets: {', '.join(params.datasets)}")
    for study in params.studies:
        _say(f"{study}: {_planned(params, study)}")
    found = find_faults(params, tree, root, studies_of(root, params, params.profile))
    faults += [f"{paths.PARAMS}: {line}" for line in (*found.wrong, *found.absent.values())]
    known = set(found.wrong)
    for file in sorted((root / paths.PROFILES).glob("*.yaml")):
        where = f"{paths.PROFILES}/{file.name}"
        try:
            tree = with_profile(root, file.stem)
            read = parse_params(tree)
            found = find_faults(read, tree, root, studies_of(root, read, file.stem))
        except ConfigError as error:
            faults += [f"{where}: {line}" for line in str(error).splitlines()]
            continue
        faults += [f"{where}: {line}" for line in found.wrong if line not in known]
        if not found.wrong:
            _say(f"{where}: valid{not_here(found)}")
    if faults:
        raise ConfigError("\n".join(faults))


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


def _planned(params: Params, study: str) -> str:
    """Return variants × conditions of every phase in words; of a study without data, that it is left out."""
    wiring, config = module(study, "study"), params.study(study)
    if params.datasets.keys().isdisjoint(wiring.datasets(config)):
        return "left out, none of its data sets is in params.yaml"
    counts = []
    for phase in wiring.PHASES:
        variants = wiring.variants(config, phase)
        conditions = sum(len(wiring.conditions(config, phase, variant)) for variant in variants)
        counts.append(f"{phase} {len(variants)} variants, {conditions} conditions")
    return "; ".join(counts)
