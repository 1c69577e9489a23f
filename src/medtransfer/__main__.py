"""``medtransfer`` and ``python -m medtransfer``.

A stage is a short process that imports a million objects. Garbage collection during the imports, and freeing the
objects one by one at the end, would together cost every stage seconds.
"""

import atexit
import gc
import os
import sys

from medtransfer.cli import run

COLLECT_AFTER = 100_000
"""New objects between two collections; Python's default of 700 causes hundreds while torch and timm are imported."""


def main() -> None:
    """Run the command line and exit with its code."""
    gc.set_threshold(COLLECT_AFTER)
    codes: list[int] = []
    atexit.register(_leave, codes)  # registered first, so it runs last: every other exit handler has had its turn
    codes.append(run(sys.argv[1:]))
    sys.exit(codes[0])


def _leave(codes: list[int]) -> None:
    """End the process at once when the verb has finished; a traceback or Ctrl-C exits the normal way."""
    if codes:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(codes[0])


if __name__ == "__main__":
    main()
