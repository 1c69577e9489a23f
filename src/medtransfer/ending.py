"""How a process of the command line ends.

A stage is a short process that imports a million objects. Garbage collection during the imports, and freeing the
objects one by one at the end, would together cost every stage seconds.
"""

import atexit
import gc
import os
import sys

COLLECT_AFTER = 100_000
"""New objects between two collections; Python's default of 700 causes hundreds while torch and timm are imported."""


def quick_end() -> list[int]:
    """Collect rarely, and end the process at once when its exit code is in the list that is returned.

    Without a code, after a traceback or Ctrl-C, it exits the normal way. To be called before anything else registers an
    exit handler: handlers run from the last registered to the first, so that every other has had its turn.
    """
    gc.set_threshold(COLLECT_AFTER)
    codes: list[int] = []
    atexit.register(_leave, codes)
    return codes


def _leave(codes: list[int]) -> None:
    if codes:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(codes[0])
