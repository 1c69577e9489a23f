"""The short report of ``medtransfer evaluate``."""

from collections.abc import Mapping, Sequence
from typing import Any

from medtransfer.evaluation.intervals import Interval


def evaluation_markdown(
    model: str, facts: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Interval]], *, asked: Sequence[str]
) -> str:
    """Return Markdown: which model on what, the metrics with their intervals, and what they do not say.

    Args:
        model: its address.
        facts: what was evaluated, by name.
        metrics: by question, those whose answer is known.
        asked: all questions that the model answers.
    """
    lines = [f"# {model} on {facts['name']}", ""]
    lines += [f"- {key.replace('_', ' ')}: {value}" for key, value in facts.items() if key != "name"]
    if not metrics:
        return "\n".join(
            [*lines, "", "The images have no labels that the model knows: predictions only, no metrics.", ""]
        )
    for question, values in metrics.items():
        lines += ["", f"## {question}"] if len(asked) > 1 else []
        lines += ["", "| metric | value | 95 % interval |", "|---|---|---|"]
        lines += [f"| {name} | {m.value:.3f} | {m.low:.3f} … {m.high:.3f} |" for name, m in values.items()]
    if unknown := [question for question in asked if question not in metrics]:
        lines += ["", f"Not known on these images, so not measured: {', '.join(unknown)}."]
    note = "Intervals draw patients with replacement. Thresholded metrics use 0.5, chosen on no data of this set."
    return "\n".join([*lines, "", note, ""])
