"""Whether a variant was undertuned: the learning rate that won its trials, and the step of its best validation.

If the winner is at the edge of the grid, a rate beyond it may be better; a best value at the last validation means that
the fit had not converged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pandas as pd

from medtransfer.evaluation.cells import Key
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import MISSING, labels, number
from medtransfer.reporting.records import Fit
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig
from medtransfer.studies.truncated_transfer.report.convergence import TRIAL
from medtransfer.studies.truncated_transfer.report.names import FIT, fit_cells, in_order
from medtransfer.tracking.journal import EVENTS, points, read_events
from medtransfer.training.selection import SelectionConfig


@dataclass
class Rates:
    """The learning rate of a variant's fits under a condition (None if not recorded), and each trial's best value."""

    taken: float | None = None
    tried: dict[float, float] = field(default_factory=dict)

    @property
    def edge(self) -> str:
        """``highest`` or ``lowest`` if the winner of several trials is at the end of the grid, else empty."""
        if len(self.tried) < 2 or self.taken not in (min(self.tried), max(self.tried)):
            return ""
        return "highest" if self.taken == max(self.tried) else "lowest"


def learning_rates(fits: Sequence[Fit], config: TruncatedTransferConfig) -> dict[Key, Rates]:
    """Return the learning rates by variant and condition, from the journals."""
    metric = cast(SelectionConfig, config.train.selection).metric.replace("val/", "best/", 1)
    rates: dict[Key, Rates] = {}
    for names, folder in fits:
        if names["phase"] != "finetune" or not (folder / EVENTS).exists():
            continue
        rate, best = _recorded(folder, metric)
        condition, trial, _ = names["condition"].partition(TRIAL)
        one = rates.setdefault((names["variant"], condition), Rates())
        if not trial:
            one.taken = rate
        elif rate is not None:
            one.tried[rate] = best
    return rates


def rates_table(rates: Mapping[Key, Rates], best: pd.DataFrame, config: TruncatedTransferConfig) -> Table:
    """Return the learning rate of every variant and when its fits were best; ``best``: rows of ``convergence``."""
    parts = dict(tuple(best.groupby(["variant", "condition"])))
    body = [(*fit_cells(key), *_chosen(one), *_when(parts.get(key))) for key, one in in_order(config, rates)]
    return Table(
        "rates",
        "Was a variant undertuned? Learning rates and the end of the budget",
        "The learning rate that won on validation images; below it, the best validation result of every rate that was "
        "tried. At the grid’s edge, a rate beyond the grid may be better. A best value at the last validation means "
        "that the fit had not converged.",
        (
            *FIT,
            Column("learning rate"),
            *labels("at the grid’s edge"),
            Column("best validation, of all steps"),
            Column("best is the last validation"),
        ),
        tuple(body),
    )


def undertuned(rates: Mapping[Key, Rates], best: pd.DataFrame) -> tuple[str, ...]:
    """State how many chosen learning rates are at the grid's edge, and how many fits had not converged."""
    chosen = [one for one in rates.values() if len(one.tried) > 1]
    edges = [one.edge for one in chosen if one.edge]
    last = int((best["share"] == 1).sum())
    limits = []
    if edges:
        ends = " and ".join(f"{edges.count(end)} the {end}" for end in ("highest", "lowest") if end in edges)
        limits.append(
            f"Of {len(chosen)} learning rates chosen by trials, {ends} of its grid: a wider grid may be better."
        )
    if last:
        limits.append(f"In {last} of {len(best)} fits, the last validation was the best: these fits had not converged.")
    return tuple(limits)


def _recorded(folder: Path, metric: str) -> tuple[float | None, float]:
    """Return the learning rate that a fit was tagged with, and its best value of a metric, NaN where not recorded."""
    events, _ = read_events(folder / EVENTS)
    rate = events[0].body.get("tags", {}).get("learning_rate") if events else None
    values = {key: value for key, _, value in points(events)}
    return None if rate is None else float(rate), values.get(metric, float("nan"))


def _chosen(one: Rates) -> tuple[TableCell, TableCell]:
    tried = ", ".join(f"{rate:g}: {number(value)}" for rate, value in sorted(one.tried.items()))
    taken = MISSING if one.taken is None else TableCell(f"{one.taken:g}", tried or "not tuned")
    return taken, TableCell(one.edge or ("no" if len(one.tried) > 1 else MISSING.main))


def _when(part: pd.DataFrame | None) -> tuple[TableCell, TableCell]:
    if part is None:
        return MISSING, MISSING
    shares = ", ".join(f"{100 * share:.0f} %" for share in part.sort_values("seed")["share"])
    return TableCell(shares), TableCell(f"{int((part['share'] == 1).sum())} of {len(part)} fits")
