"""``medtransfer gate``: stop when a patient or an image is in two splits, within a data set or across a study."""

from argparse import Namespace

from medtransfer import paths
from medtransfer.data.gate import report, search, stored_looks
from medtransfer.data.leaks import require_no_leaks
from medtransfer.data.packed import PackedDataset
from medtransfer.files import remove_made, write_json
from medtransfer.params import Params, load_params
from medtransfer.studies import module
from medtransfer.training.progress import console

MADE = ("report.json", "datasets", "chains", "studies")
"""Contents of the gate's folder; a folder that holds anything else is not replaced."""


def run(options: Namespace) -> None:
    """Write ``report.json`` and, if the gate is open, a token per data set and study; otherwise close the gate.

    Fits depend on the tokens of their study and of the data sets they read; a token changes only with its data.
    """
    del options
    remove_made(paths.GATE, MADE)
    params = load_params()
    chains = _chains(params)
    opened = {name: PackedDataset.open(paths.dataset(name)) for name in params.datasets}
    looks = [stored_looks(data, paths.looks(name)) for name, data in opened.items()]
    leaks, near = search(opened, looks, chains.values(), params.gate)
    if near.cut:
        console.print(f"gate: {near.cut} images resemble so many others that not all of these were compared")
    require_no_leaks(leaks[leaks["matters"]], params.gate)
    write_json(paths.GATE_REPORT, report(opened, leaks, near, params.gate))
    hashes = {name: data.meta.content_hash for name, data in opened.items()}
    for name, content in hashes.items():
        write_json(paths.gate_dataset(name), {"dataset": name, "content_hash": content, "gate": "open"})
    for study, names in chains.items():
        write_json(paths.gate_study(study), {name: hashes[name] for name in names})
        write_json(paths.gate_chain(study), {"study": study, "gate": "open"})


def _chains(params: Params) -> dict[str, tuple[str, ...]]:
    """Return the data sets of every study; a study that reads one missing in params.yaml is named and left out."""
    chains = {}
    for study in params.studies:
        names: tuple[str, ...] = module(study, "study").datasets(params.study(study))
        missing = [name for name in names if name not in params.datasets]
        if missing:
            problem = f"{study}: reads {missing[0]!r}, which is not a data set in params.yaml; it cannot be fitted"
            console.print(problem, markup=False, soft_wrap=True)
        else:
            chains[study] = names
    return chains
