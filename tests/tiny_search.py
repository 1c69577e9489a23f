"""Searches whose trials compute a number at once; as a program one worker: ``NAME TRIALS WORKER MODE``."""

import os
import signal
import sys
import time
from pathlib import Path

from medtransfer.tuning.config import SearchConfig
from medtransfer.tuning.trial import Reached, Search, ended


def search_of(name="tiny", *, trials=4, objectives=None, **changes):
    """A search over one number, whose trials need no parameters."""
    plain = {
        "study": "attentive_transfer",
        "fits": [{"phase": "finetune"}],
        "space": {"x": {"kind": "float", "low": 0, "high": 1}, "c": {"kind": "choice", "choices": [["a"], ["b"]]}},
        "objectives": objectives or [{"metric": "val/auroc"}],
        "budget": {"trials": trials},
    }
    config = SearchConfig.model_validate(plain | changes)
    return Search(name=name, config=config, tree={}, space_hash="0123", code="c0de")


def squared(search, values, watch, *, number, folder, threads, nested_in):
    """A trial that reaches 1 − (x − 0.3)²."""
    return Reached("COMPLETE", values=[1 - (values["x"] - 0.3) ** 2][: len(search.config.objectives)], code=search.code)


def killed(*arguments, **names):
    """A trial that ends its process."""
    os.kill(os.getpid(), signal.SIGKILL)


def endless(*arguments, **names):
    """A trial that does not end."""
    Path("running").touch()
    time.sleep(600)


def hungry(search, values, watch, **names):
    """A trial that asks for more memory than its worker may have."""
    return ended(search.config, lambda: [float(len(bytearray(4 * 2**30)))])


if __name__ == "__main__":
    from medtransfer.tuning.worker import work

    name, trials, worker, mode = sys.argv[1:]
    search = search_of(name, trials=int(trials), **({"memory_gb": 2.0} if mode == "hungry" else {}))
    work(search, None, worker=int(worker), run=globals()[mode])
