"""``medtransfer lineage X``: where a data set, run, model or weights come from, and what was made of them."""

from argparse import Namespace

from medtransfer.tracking.descent import lineage, read_graph


def run(options: Namespace) -> None:
    """Print the lineage, with the commands that make the thing again."""
    print("\n".join(lineage(read_graph(), options.what)))  # noqa: T201
