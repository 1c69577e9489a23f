"""Columns of the table that a registered model returns, as its heads in config.json name them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from medtransfer.errors import ModelError

LUNGS = "lungs"
"""Column of a network that grades lung zones: where the mask of each image is from."""
SCORE = "severity_score"
"""Column of the same network: how many of the six zones have a severity of at least 0.5."""
FILES = "files"
"""What ``masks`` of the preprocessing is in a network that was trained on lung masks."""


class HeadColumns(NamedTuple):
    """What one head adds to the table."""

    label: str
    """Column with the name of the likeliest class; empty unless the classes exclude each other."""
    scores: tuple[str, ...]
    """One column per output, in the order of the outputs."""


def head_columns(heads: Mapping[str, Mapping[str, Any]], *, where: str) -> dict[str, HeadColumns]:
    """Return the columns of each head, in the order of the table.

    Scores are ``probability_<output>``, ``severity_<output>`` or ``value_<output>``. A head of exclusive classes has
    its label before them: ``label``, or ``label_<head>`` in a network with several such heads.

    Args:
        heads: the heads as they are stored.
        where: the model, for messages.

    Raises:
        ModelError: there is no head, one is damaged or was never trained.
    """
    try:
        untrained = [name for name, head in heads.items() if not head["trained"]]
        exclusive = [n for n, head in heads.items() if head["activation"] == "softmax" or head.get("exclusive")]
        scores = {name: tuple(f"{head['kind']}_{output}" for output in head["outputs"]) for name, head in heads.items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise ModelError(f"{where}: damaged heads; run the stage that writes them again") from error
    if untrained or not heads:
        which = f"head {untrained[0]!r} was never trained" if untrained else "the network has no head"
        raise ModelError(f"{where}: {which}, so there is nothing to serve; register a fine-tuned network")
    labels = {name: "label" if len(exclusive) == 1 else f"label_{name}" for name in exclusive}
    return {name: HeadColumns(labels.get(name, ""), scores[name]) for name in heads}
