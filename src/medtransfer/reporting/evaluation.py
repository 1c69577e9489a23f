"""The short report of ``medtransfer evaluate``."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from medtransfer.data.manifest import ZONES
from medtransfer.evaluation.intervals import Interval
from medtransfer.evaluation.metrics import METRICS
from medtransfer.evaluation.severity import severity_score
from medtransfer.evaluation.shift import NOT_AVAILABLE

UNLIKELY = -3.0
"""Standard deviations below 0.5 of an AUROC that chance alone hardly gives; images of one patient count apart."""


UNLIKE = "unlike_training"
"""Column of the answers: in what an image is unlike the training images."""


class Columns(Protocol):
    """What one head adds to the table of answers."""

    @property
    def label(self) -> str:
        """Column of the likeliest class; empty where outputs do not exclude each other."""

    @property
    def scores(self) -> tuple[str, ...]:
        """One column per output."""


def answers(
    table: pd.DataFrame,
    manifest: pd.DataFrame,
    columns: Mapping[str, Columns],
    *,
    lungs: Sequence[str] = (),
    unlike: Sequence[Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Return one row per image: file, likeliest class, every score, and the known label if there is one.

    Args:
        table: the predictions table.
        manifest: the images.
        columns: by head; the outputs of all heads in their order.
        lungs: where the lung mask of each image is from, of a network that reads them.
        unlike: in what each image is unlike the training images; None = not available.
    """
    wide = table.pivot(index="image_id", columns="output", values="score").loc[manifest["image_id"]]
    rows: dict[str, Any] = {"file": manifest["path"].to_numpy()}
    for head in columns.values():
        outputs = [name.partition("_")[2] for name in head.scores]
        if head.label:
            rows[head.label] = wide[outputs].idxmax(axis=1).to_numpy()
        rows |= {name: wide[output].to_numpy() for name, output in zip(head.scores, outputs, strict=True)}
    if lungs:
        zones = [wide[zone].to_numpy() for zone in ZONES if zone in wide]
        rows["severity_score"] = severity_score(np.stack(zones, axis=1))
        rows["lungs"] = list(lungs)
    if (manifest["label"] != "").any():
        rows["known_label"] = manifest["label"].to_numpy()
    rows[UNLIKE] = NOT_AVAILABLE if unlike is None else ["; ".join(reasons) for reasons in unlike]
    return pd.DataFrame(rows)


def below_chance(question: str, table: pd.DataFrame, outputs: tuple[str, ...]) -> str:
    """Say that an AUROC is further below 0.5 than chance explains; empty where it is not.

    The standard deviation under chance is that of the rank sum (Mann & Whitney 1947), each image counted.
    """
    rows = table[(table["output"] == outputs[0]) & (table["kind"] == "probability") & table["target"].notna()]
    positive = int((rows["target"] == 1).sum())
    negative = len(rows) - positive
    if not positive or not negative:
        return ""
    value = METRICS["auroc"](rows["target"].to_numpy(), rows["score"].to_numpy())
    if (value - 0.5) / math.sqrt((len(rows) + 1) / (12 * positive * negative)) > UNLIKELY:
        return ""
    return (
        f"AUROC of {question} is {value:.3f}, further below 0.5 than chance explains: labels may be exchanged, or the "
        "images unlike those of training (inverted grey levels, another window)"
    )


def unlike_facts(unlike: Sequence[Sequence[str]] | None) -> dict[str, Any]:
    """Return number and share of the images that are unlike the training images; ``unlike`` has reasons per image."""
    if unlike is None:
        return {UNLIKE: NOT_AVAILABLE}
    flagged = sum(bool(reasons) for reasons in unlike)
    return {UNLIKE: flagged, f"{UNLIKE}_share": round(flagged / len(unlike), 3)}


def unlike_in_words(unlike: Sequence[Sequence[str]] | None) -> str:
    """Say how many images are unlike the training images, or that it is not known; empty where none is."""
    if unlike is None:
        return (
            f"whether the images are like the training images is {NOT_AVAILABLE}: the model has no statistics of them"
        )
    flagged = sum(bool(reasons) for reasons in unlike)
    if not flagged:
        return ""
    share = f"{flagged} of {len(unlike)} images ({flagged / len(unlike):.0%})"
    return f"{share} are unlike the training images, where no metric was measured: column {UNLIKE} says in what"


def evaluation_markdown(
    model: str,
    facts: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, Interval]],
    *,
    asked: Sequence[str],
    warnings: Sequence[str] = (),
    left_out: Sequence[str] = (),
) -> str:
    """Return Markdown: the model, the images, the metrics with their intervals, and what was not measured.

    Args:
        model: address of the model.
        facts: what the model was evaluated on, by name; None = not known.
        metrics: by question, for the questions whose answer is known.
        asked: all questions that the model answers, one per head.
        warnings: what a reader has to know first.
        left_out: what was not read, a line per reason.
    """
    return _plain_text("\n".join([*_page(model, facts, metrics, asked, warnings), *_listed("Left out", left_out)]))


def _plain_text(page: str) -> str:
    """Return Markdown in which a name of a folder or file cannot become markup."""
    return re.sub(r"[<>]", lambda sign: {"<": "&lt;", ">": "&gt;"}[sign[0]], page)


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    return [f"{title}:", "", *(f"- {line}" for line in lines), ""] if lines else []


def _page(
    model: str,
    facts: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, Interval]],
    asked: Sequence[str],
    warnings: Sequence[str],
) -> list[str]:
    lines = [f"# {model} on {facts['name']}", "", *_listed("Notes", warnings)]
    known = {key: "not known" if value is None else value for key, value in facts.items() if key != "name"}
    lines += [f"- {key.replace('_', ' ')}: {value}" for key, value in known.items()]
    if not metrics:
        return [*lines, "", "The images have no labels for the model's outputs: predictions only, no metrics.", ""]
    for question, values in metrics.items():
        lines += ["", f"## {question}"] if len(asked) > 1 else []
        lines += ["", "| metric | value | 95 % interval |", "|---|---|---|"]
        lines += [f"| {name} | {_value(one)} | {bounds_or_reason(one)} |" for name, one in values.items()]
    if unknown := [question for question in asked if question not in metrics]:
        lines += ["", f"Not known on these images, so not measured: {', '.join(unknown)}."]
    note = "Intervals are over patients. Thresholded metrics use 0.5; no data of this set was used to choose it."
    return [*lines, "", note, ""]


def bounds_or_reason(one: Interval) -> str:
    """Return the bounds of an interval, or why there is none."""
    return one.reason if math.isnan(one.low) else f"{one.low:.3f} … {one.high:.3f}"


def _value(one: Interval) -> str:
    return "—" if math.isnan(one.value) else f"{one.value:.3f}"
