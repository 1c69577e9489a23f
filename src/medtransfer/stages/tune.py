"""``medtransfer tune NAME``: search over parameters; the same command goes on with a search that was stopped."""

import os
from argparse import Namespace
from typing import Any

from medtransfer import code, paths, studies
from medtransfer.errors import ConfigError
from medtransfer.params import Params, load_params, read_tree
from medtransfer.training.progress import console
from medtransfer.tuning.results import file_of
from medtransfer.tuning.search import run_search, shared
from medtransfer.tuning.space import check_space
from medtransfer.tuning.trial import Search
from medtransfer.tuning.worker import work


def run(options: Namespace) -> None:
    """Run a search with its workers; as one of these workers, run trials."""
    params, search, base, data = read_search(options.name)
    if options.worker is not None:
        threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
        work(search, options.storage, worker=options.worker, threads=threads, until=options.until)
        return
    if options.workers < 1:
        raise ConfigError(f"--workers {options.workers}: expected at least one")
    check_space(options.name, search.tree, search.config)
    result = run_search(search, params, base, data, address=options.storage, workers=options.workers)
    best = result.best()
    console.print(
        f"{len(result.complete)} of {len(result.trials)} trials are complete"
        + (f"; the best is trial {best.number}: medtransfer adopt {options.name}" if best else "")
        + f"; all are in {file_of(options.name)}",
        markup=False,
        soft_wrap=True,
    )


def read_search(name: str) -> tuple[Params, Search, dict[str, Any], dict[str, str]]:
    """Return the parameters, a search, what its trials share, and the content hashes of its data.

    Raises:
        ConfigError: there is no such search, study or phase.
    """
    params, tree = load_params(), read_tree(paths.workspace() / paths.PARAMS)
    config = params.search(name)
    phases = [fit.phase for fit in config.fits]
    entries = [entry for phase in phases for entry in studies.entries("fit", config.study, phase)]
    return params, *shared(name, params, tree, code.digest(entries))
