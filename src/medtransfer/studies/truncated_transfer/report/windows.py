"""How results drift over time: AUROC, AUPRC and the share of positives in each month of a chronological test split."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import METRIC_TITLES, estimate, labels, lookup, number
from medtransfer.studies.truncated_transfer.claims import METRICS
from medtransfer.studies.truncated_transfer.report.balance import share_of_positives
from medtransfer.studies.truncated_transfer.report.names import fit_cells
from medtransfer.studies.truncated_transfer.report.results import Results, results


def windows_table(predictions: pd.DataFrame, found: Results, datasets: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """Return every variant month by month where test images were split off by date; nothing where none were.

    Args:
        predictions: the study's table, with dates.
        found: the results on all test images.
        datasets: name → facts with ``until``, the last day before the test images, or None.
    """
    days = {name: meta["until"] for name, meta in datasets.items() if meta["until"] is not None}
    conditions = [c.name for c in found.conditions if found.config.tasks[c.task].dataset in days]
    if not conditions:
        return None
    dated = predictions[predictions["dataset"].isin(days) & predictions["date"].notna()]
    months = {
        str(month): results(rows, found.config, found.evaluation)
        for month, rows in dated.groupby(dated["date"].dt.strftime("%Y-%m"))
    }
    body = [
        row for condition in conditions for month, window in months.items() for row in _rows(month, window, condition)
    ]
    last = ", ".join(f"{name}: {day}" for name, day in days.items())
    return Table(
        "windows",
        "Test images by month",
        f"Training ended with the day given here ({last}); mean ± sd over seeds, below it the 95 % interval. AUPRC "
        "falls with the share of positives even where nothing else changes.",
        (
            *labels("Setting", "Month", "Network", "Start"),
            *map(Column, ("images", "share of positives", *(METRIC_TITLES[metric] for metric in METRICS))),
        ),
        tuple(body),
    )


def _rows(month: str, window: Results, condition: str) -> list[tuple[TableCell, ...]]:
    known, shown = lookup(window.rows(), "variant", "condition", "metric"), []
    for key, cell in window.cells.items():
        if cell.condition == condition:
            setting, network, start = fit_cells(key)
            counts = (TableCell(str(len(cell.images))), TableCell(number(share_of_positives(cell))))
            values = (estimate(known[*key, metric]) for metric in METRICS)
            shown.append((setting, TableCell(month), network, start, *counts, *values))
    return shown
