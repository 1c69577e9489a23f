"""How results drift over time: AUROC, AUPRC and the share of positives in each month of a chronological test split."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from medtransfer.reporting.content import Column, Table, Text
from medtransfer.reporting.formatting import estimate, number
from medtransfer.studies.truncated_transfer.claims import METRICS
from medtransfer.studies.truncated_transfer.report.balance import share_of_positives
from medtransfer.studies.truncated_transfer.report.names import (
    METRIC_TITLES,
    condition_title,
    network_title,
    start_title,
)
from medtransfer.studies.truncated_transfer.report.values import Results, results, values


def windows_table(predictions: pd.DataFrame, found: Results, datasets: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """Lay out every variant month by month where test images were split off by date; nothing where none were.

    Args:
        predictions: the study's table, with dates.
        found: the results on all test images.
        datasets: name → facts with ``until``, the last day before the test images, or None.
    """
    days = {name: meta["until"] for name, meta in datasets.items() if meta["until"] is not None}
    tasks = [name for name, task in found.config.tasks.items() if task.dataset in days]
    if not tasks:
        return None
    dated = predictions[predictions["dataset"].isin(days) & predictions["date"].notna()]
    body = []
    for month, rows in dated.groupby(dated["date"].dt.strftime("%Y-%m")):
        window = results(rows, found.config, found.settings)
        body += [
            row
            for condition in window.conditions
            if condition.task in tasks
            for row in _rows(str(month), window, condition)
        ]
    order = {condition_title(condition): number for number, condition in enumerate(found.conditions)}
    body.sort(key=lambda row: order[row[0].main])
    last = ", ".join(f"{name}: {day}" for name, day in days.items())
    return Table(
        "windows",
        "Test images by month",
        f"Training ended with the day given here ({last}); mean ± sd over seeds, below it the 95 % interval. AUPRC "
        "falls with the share of positives even where nothing else changes.",
        (
            *(Column(name, number=False) for name in ("Setting", "Month", "Network", "Start")),
            *map(Column, ("images", "share of positives", *METRIC_TITLES.values())),
        ),
        tuple(body),
    )


def _rows(month: str, window: Results, condition: Any) -> list[tuple[Text, ...]]:
    known = {(row["variant"], row["condition"], row["metric"]): row for row in values(window)}
    shown = []
    for (variant, other), fits in window.fits.items():
        if other == condition:
            share = share_of_positives(fits, window.config.neg_pos_ratio(condition))
            labels = (
                Text(condition_title(condition)),
                Text(month),
                Text(network_title(variant)),
                Text(start_title(variant)),
            )
            numbers = (Text(str(len(fits.target))), Text(number(share)))
            shown.append((*labels, *numbers, *(estimate(known[variant, condition, metric]) for metric in METRICS)))
    return shown
