"""``medtransfer`` and ``python -m medtransfer``."""

import sys

from medtransfer.preloaded import run_elsewhere


def main() -> None:
    """Run the command line, here or in a child of a parent that has the packages loaded; exit with its code."""
    if (code := run_elsewhere()) is not None:
        sys.exit(code)
    from medtransfer.cli import run
    from medtransfer.ending import quick_end

    given: list[int] | None = globals().get("ENDING")  # of a parent, which registered it before its packages
    ending = quick_end() if given is None else given
    ending.append(run(sys.argv[1:]))
    sys.exit(ending[0])


if __name__ == "__main__":
    main()
