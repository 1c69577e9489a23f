"""``medtransfer confirm NAME``: is what was adopted better? New seeds, test rows, both arms paired."""

import os
from argparse import Namespace

from medtransfer.errors import ConfigError
from medtransfer.stages.tune import read_search
from medtransfer.training.progress import console
from medtransfer.tuning.confirm import confirm
from medtransfer.tuning.records import read_adoption


def run(options: Namespace) -> None:
    """Fit adopted and former values, and print gain, interval and verdict.

    Raises:
        ConfigError: nothing was adopted.
    """
    params, search, _, _ = read_search(options.name)
    adoption = read_adoption(options.name)
    if adoption is None:
        raise ConfigError(f"tuning.{options.name}: nothing is adopted; run: medtransfer adopt {options.name}")
    cores = len(os.sched_getaffinity(0))
    found = confirm(search, params, adoption, count=options.seeds, threads=cores)
    gain = "not defined" if found.gain is None else f"{found.gain:+.4f}"
    if found.low is not None and found.high is not None:
        gain += f" [{found.low:+.4f}, {found.high:+.4f}]"
    console.print(
        f"{options.name}: {found.verdict}; {found.metric} adopted − former {gain} over {len(found.seeds)} seeds and "
        f"{found.patients} test patients ({found.reason}); trial {found.trial} was chosen from {found.trials}",
        markup=False,
        soft_wrap=True,
    )
