"""Results over time: AUROC, AUPRC and the share of positives in each month of a chronological test split."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import METRIC_TITLES, estimate, labels, lookup, number
from medtransfer.studies.truncated_transfer.claims import METRICS
from medtransfer.studies.truncated_transfer.report.balance import share_of_positives
from medtransfer.studies.truncated_transfer.report.names import fit_cells
from medtransfer.studies.truncated_transfer.report.results import Results
from medtransfer.studies.truncated_transfer.report.results import results as measure_results


def windows_table(
    predictions: pd.DataFrame, results: Results, datasets: Mapping[str, Mapping[str, Any]]
) -> Table | None:
    """Return every variant by month if test images were split off by date; None if none were.

    Args:
        predictions: the study's table, with dates.
        results: the results on all test images.
        datasets: name → facts with ``until``, the last day before the test images, or None.
    """
    days = {name: meta["until"] for name, meta in datasets.items() if meta["until"] is not None}
    conditions = [c.name for c in results.conditions if results.config.tasks[c.task].dataset in days]
    if not conditions:
        return None
    dated = predictions[predictions["dataset"].isin(days) & predictions["date"].notna()]
    months = {
        str(month): measure_results(rows, results.config, results.evaluation)
        for month, rows in dated.groupby(dated["date"].dt.strftime("%Y-%m"))
    }
    body = [
        row for condition in conditions for month, window in months.items() for row in _rows(month, window, condition)
    ]
    last = ", ".join(f"{name}: {day}" for name, day in days.items())
    return Table(
        "windows",
        "Test images by month",
        f"Training images end with this day: {last}. Mean ± sd over seeds; below it the 95 % interval. AUPRC falls "
        "with the share of positives even if nothing else changes.",
        (
            *labels("Setting", "Month", "Network", "Start"),
            *map(Column, ("images", "share of positives", *(METRIC_TITLES[metric] for metric in METRICS))),
        ),
        tuple(body),
    )


def _rows(month: str, window: Results, condition: str) -> list[tuple[TableCell, ...]]:
    by_name, cells = lookup(window.rows(), "variant", "condition", "metric"), []
    for key, cell in window.cells.items():
        if cell.condition == condition:
            setting, network, start = fit_cells(key)
            counts = (TableCell(str(len(cell.images))), TableCell(number(share_of_positives(cell))))
            values = (estimate(by_name[*key, metric]) for metric in METRICS)
            cells.append((setting, TableCell(month), network, start, *counts, *values))
    return cells
