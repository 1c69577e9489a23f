"""The short report of ``medtransfer evaluate``."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from medtransfer.evaluation.intervals import Interval


def evaluation_markdown(
    model: str, facts: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Interval]], *, asked: Sequence[str]
) -> str:
    """Return Markdown: the model, the images, the metrics with their intervals, and what was not measured.

    Args:
        model: address of the model.
        facts: what the model was evaluated on, by name; None = not known.
        metrics: by question, for the questions whose answer is known.
        asked: all questions that the model answers, one per head.
    """
    lines = [f"# {model} on {facts['name']}", ""]
    known = {key: "not known" if value is None else value for key, value in facts.items() if key != "name"}
    lines += [f"- {key.replace('_', ' ')}: {value}" for key, value in known.items()]
    if not metrics:
        return "\n".join(
            [*lines, "", "The images have no labels for the model's outputs: predictions only, no metrics.", ""]
        )
    for question, values in metrics.items():
        lines += ["", f"## {question}"] if len(asked) > 1 else []
        lines += ["", "| metric | value | 95 % interval |", "|---|---|---|"]
        lines += [f"| {name} | {_value(one)} | {bounds_or_reason(one)} |" for name, one in values.items()]
    if unknown := [question for question in asked if question not in metrics]:
        lines += ["", f"Not known on these images, so not measured: {', '.join(unknown)}."]
    note = "Intervals are over patients. Thresholded metrics use 0.5; no data of this set was used to choose it."
    return "\n".join([*lines, "", note, ""])


def bounds_or_reason(one: Interval) -> str:
    """Return the bounds of an interval, or why there is none."""
    return one.reason if math.isnan(one.low) else f"{one.low:.3f} … {one.high:.3f}"


def _value(one: Interval) -> str:
    return "—" if math.isnan(one.value) else f"{one.value:.3f}"
