"""Whether a variant was starved: the learning rate that won its trials, and where its best validation came.

A winner at the edge of the grid leaves open whether a rate beyond it were better; a best at the last validation means
that the fit had not converged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pandas as pd

from medtransfer.reporting.content import Column, Table, Text
from medtransfer.reporting.formatting import MISSING, number
from medtransfer.reporting.records import Fit
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig
from medtransfer.studies.truncated_transfer.report.names import condition_title, network_title, start_title
from medtransfer.tracking.journal import EVENTS, points, read_events
from medtransfer.training.selection import SelectionConfig


@dataclass
class Rates:
    """The learning rate of a variant's fits on a condition, None if not recorded, and each trial's best."""

    taken: float | None = None
    tried: dict[float, float] = field(default_factory=dict)

    @property
    def edge(self) -> str:
        """``highest`` or ``lowest`` where the winner of several trials is at the end of the grid, else nothing."""
        if len(self.tried) < 2 or self.taken not in (min(self.tried), max(self.tried)):
            return ""
        return "highest" if self.taken == max(self.tried) else "lowest"


def learning_rates(fits: Sequence[Fit], config: TruncatedTransferConfig) -> dict[tuple[str, str], Rates]:
    """Return the learning rates by variant and name of the condition, from the journals."""
    metric = cast(SelectionConfig, config.train.selection).metric.replace("val/", "best/", 1)
    found: dict[tuple[str, str], Rates] = {}
    for names, folder in fits:
        if names["phase"] == "pretrained" or not (folder / EVENTS).exists():
            continue
        rate, best = _recorded(folder, metric)
        one = found.setdefault((names["variant"], names["condition"].partition("-trial")[0]), Rates())
        if names["phase"] == "trial" and rate is not None:
            one.tried[rate] = best
        elif names["phase"] == "finetuned":
            one.taken = rate
    return found


def rates_table(found: Mapping[tuple[str, str], Rates], best: pd.DataFrame, config: TruncatedTransferConfig) -> Table:
    """Lay out which learning rate every variant took and when its fits were best; ``best``: rows of ``convergence``."""
    parts, body = dict(tuple(best.groupby(["variant", "condition"]))), []
    for condition in config.conditions():
        for variant in config.variants:
            key = (variant, condition.name)
            if key in found:
                labels = (Text(condition_title(condition)), Text(network_title(variant)), Text(start_title(variant)))
                body.append((*labels, *_chosen(found[key]), *_when(parts.get(key))))
    return Table(
        "rates",
        "Was a variant starved? Learning rates and the end of the budget",
        "The learning rate that won on validation images, below it the best validation result of every rate that was "
        "tried. At the grid’s edge a rate beyond it may have been better; a best at the last validation means that "
        "the fit had not converged.",
        (
            *(Column(name, number=False) for name in ("Setting", "Network", "Start")),
            Column("learning rate"),
            Column("at the grid’s edge", number=False),
            Column("best validation, of all steps"),
            Column("best is the last validation"),
        ),
        tuple(body),
    )


def starved(found: Mapping[tuple[str, str], Rates], best: pd.DataFrame) -> tuple[str, ...]:
    """Say how many choices of a learning rate lie at the grid's edge, and how many fits had not converged."""
    chosen = [one for one in found.values() if len(one.tried) > 1]
    edges = [one.edge for one in chosen if one.edge]
    last = int((best["share"] == 1).sum())
    said = []
    if edges:
        ends = " and ".join(f"{edges.count(end)} the {end}" for end in ("highest", "lowest") if end in edges)
        said.append(f"Of {len(chosen)} learning rates chosen by trials, {ends} of its grid: a wider one may do better.")
    if last:
        said.append(f"In {last} of {len(best)} fits the last validation was the best: these had not converged.")
    return tuple(said)


def _recorded(folder: Path, metric: str) -> tuple[float | None, float]:
    """Return the learning rate that a fit was tagged with, and its best value of a metric, NaN where not recorded."""
    events, _ = read_events(folder / EVENTS)
    rate = events[0].body.get("tags", {}).get("learning_rate") if events else None
    values = {key: value for key, _, value in points(events)}
    return None if rate is None else float(rate), values.get(metric, float("nan"))


def _chosen(one: Rates) -> tuple[Text, Text]:
    tried = ", ".join(f"{rate:g}: {number(value)}" for rate, value in sorted(one.tried.items()))
    taken = MISSING if one.taken is None else Text(f"{one.taken:g}", tried or "not tuned")
    return taken, Text(one.edge or ("no" if len(one.tried) > 1 else MISSING.main))


def _when(part: pd.DataFrame | None) -> tuple[Text, Text]:
    if part is None:
        return MISSING, MISSING
    shares = ", ".join(f"{100 * share:.0f} %" for share in part.sort_values("seed")["share"])
    return Text(shares), Text(f"{int((part['share'] == 1).sum())} of {len(part)} fits")
