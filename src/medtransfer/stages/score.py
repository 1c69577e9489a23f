"""``medtransfer score STUDY``: metrics with intervals, written for DVC and added to the run of every fit."""

from argparse import Namespace
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from medtransfer import paths
from medtransfer.evaluation.predictions import read_predictions
from medtransfer.evaluation.scorecard import scorecard
from medtransfer.files import read_json, write_json
from medtransfer.params import load_params
from medtransfer.reporting.evaluation import confusion_figure, curves_figure
from medtransfer.studies.base import Fitted
from medtransfer.tracking.mlflow_tracker import append, import_run
from medtransfer.tracking.tracker import Tracker
from medtransfer.tracking.views import save_view
from medtransfer.training.progress import console


def run(options: Namespace) -> None:
    """Write ``metrics/<study>.json`` and append test metrics and figures to the tracked runs."""
    params = load_params()
    table = read_predictions(paths.OUT / options.study / "predictions.parquet")
    table = table[(table["kind"] == "probability") & (table["intervention"] == "")]
    study = import_module(f"medtransfer.studies.{options.study}.predictions")
    fits: list[Fitted] = list(study.fitted(getattr(params, options.study)))
    ratios = {(fit.variant, fit.condition): ratio for fit in fits if (ratio := fit.neg_pos_ratio) is not None}
    card = scorecard(table, params.evaluation, neg_pos_ratio=ratios)
    write_json(paths.METRICS / f"{options.study}.json", card)
    _bring_missing_runs(paths.OUT / options.study)
    parts = dict(tuple(table.groupby(["variant", "condition", "seed"])))
    for fit in fits:
        with append(fit.records) as tracker:
            for (dataset, split), rows in parts[fit.variant, fit.condition, fit.seed].groupby(["dataset", "split"]):
                where = split if dataset == fit.dataset else f"outside_{dataset}"
                entry = card["/".join((fit.variant, fit.condition, dataset, split))]
                _track(tracker, entry, fit, rows, where)
    link = save_view(options.study, study.comparison(getattr(params, options.study)))
    if link:
        console.print(f"compare in the tracker (make ui): {link}", markup=False, soft_wrap=True)


def _track(tracker: Tracker, entry: dict[str, Any], fit: Fitted, rows: pd.DataFrame, where: str) -> None:
    number, block = entry["seeds"].index(fit.seed), entry["probability"]
    tracker.metrics(dict(_of_seed(block, number, where)), 0)
    if where.startswith("val"):
        return
    for output, thresholds in block.get("thresholds", {}).items():
        part = rows[rows["output"] == output]
        name = where if len(block["outputs"]) == 1 else f"{where}_{output}"
        title = name if fit.neg_pos_ratio is None else f"{name}, images unweighted"
        tracker.figure(f"{name}_curves.png", curves_figure(part, title))
        tracker.figure(f"{name}_confusion.png", confusion_figure(part, thresholds[number], output))


def _of_seed(block: dict[str, Any], number: int, where: str) -> Iterator[tuple[str, float]]:
    """Yield one seed's metrics as ``<where>/<metric>_<output>``, the mean of several outputs without one.

    Undefined metrics are left out.
    """
    named = {f"_{block['outputs'][0]}": block} if len(block["outputs"]) == 1 else {"": block}
    named |= {f"_{output}": part for output, part in block.get("by_output", {}).items()}
    for suffix, part in named.items():
        for metric, summary in part["metrics"].items():
            if (value := summary["per_seed"][number]) is not None:
                yield f"{where}/{metric}{suffix}", value


def _bring_missing_runs(folder: Path) -> None:
    """Import the runs that no store has taken because it was down when they ended."""
    for record in sorted(folder.glob("**/records/*/run.json")):
        if read_json(record)["run_id"] is None:
            import_run(record.parent)
