"""``medtransfer score STUDY``: compute metrics with intervals, for DVC and for the run of every fit."""

from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from medtransfer import paths
from medtransfer.evaluation.brief import brief
from medtransfer.evaluation.predictions import read_predictions
from medtransfer.evaluation.scorecard import scorecard, seed_metrics
from medtransfer.files import new_folder, read_json, write_json, write_sealed
from medtransfer.params import load_params
from medtransfer.reporting.notes import notes_of_runs
from medtransfer.reporting.records import TRAINED_ON, trained_on
from medtransfer.studies import VERBS, module
from medtransfer.studies.base import Contest, FittedModel
from medtransfer.tracking.describing import describe_runs
from medtransfer.tracking.figures import confusion_figure, curves_figure
from medtransfer.tracking.mlflow_tracker import append, import_run
from medtransfer.tracking.tracker import Tracker
from medtransfer.tracking.views import save_view
from medtransfer.training.progress import console


def run(options: Namespace) -> None:
    """Write ``results/card.json`` and ``metrics/<study>``, and append test metrics and figures to the tracked runs."""
    params = load_params()
    table = read_predictions(paths.results(options.study) / "predictions.parquet")
    study, config = module(options.study, VERBS["score"]), params.study(options.study)
    models: list[FittedModel] = list(study.fitted(config))
    table = _as_trained(table, models)
    ratios = {(m.variant, m.condition): m.neg_pos_ratio for m in models if m.neg_pos_ratio is not None}
    card = scorecard(table, params.evaluation, neg_pos_ratio=ratios)
    write_sealed(paths.card(options.study), card)
    _write_brief(options.study, card, study.contests(config), models)
    records = paths.study_folder(options.study) / "records"
    _bring_missing_runs(records)
    parts = dict(tuple(table.groupby(["variant", "condition", "seed"])))
    for model in models:
        with append(model.records) as tracker:
            rows = parts[model.variant, model.condition, model.seed]
            for (dataset, split), part in rows[rows["split"] != "val"].groupby(["dataset", "split"]):
                where = split if dataset == model.dataset else f"outside_{dataset}"
                entry = card["/".join((model.variant, model.condition, dataset, split))]
                _track(tracker, entry, model, part, where)
    view = study.comparison(config)
    facts = {
        name: {"phantoms": params.dataset(name).phantoms} for name in module(options.study, "study").datasets(config)
    }
    described = notes_of_runs(records, models, card, facts, metric=study.contests(config)[0].metric)
    describe_runs(options.study, *described)
    link = save_view(options.study, view)
    if link:
        console.print(f"compare in the tracker (make ui): {link}", markup=False, soft_wrap=True)


def _write_brief(study: str, card: Mapping[str, Any], contests: Iterable[Contest], models: list[FittedModel]) -> None:
    """Write one small file per variant of every contest, which ``dvc metrics show`` prints as a row."""
    with new_folder(paths.metrics(study), made=[contest.model for contest in contests]) as folder:
        for contest in contests:
            rows = brief(card, contest.fits, dataset=contest.dataset, metric=contest.metric)
            for variant, row in rows.items():
                fits = [m.records for m in models if (m.variant, m.condition) == (variant, row["condition"])]
                machines = "; ".join(sorted({trained_on(records) for records in fits} - {""}))
                write_json(folder / contest.model / f"{variant}.json", row | {TRAINED_ON: machines})


def _as_trained(table: pd.DataFrame, models: list[FittedModel]) -> pd.DataFrame:
    """Return the rows of the study's models without an intervention."""
    keys = {(model.variant, model.condition) for model in models}
    own = pd.MultiIndex.from_frame(table[["variant", "condition"]]).isin(keys)
    return table[own & (table["intervention"] == "")]


def _track(tracker: Tracker, entry: dict[str, Any], model: FittedModel, rows: pd.DataFrame, where: str) -> None:
    number = entry["seeds"].index(model.seed)
    for kind in ("probability", "severity", "value"):
        if kind in entry:
            values = seed_metrics(entry[kind], number, kind=kind)
            tracker.metrics({f"{where}/{name}": value for name, value in values.items()}, 0)
    if "probability" not in entry:
        return
    block = entry["probability"]
    for output, thresholds in block.get("thresholds", {}).items():
        part = rows[(rows["output"] == output) & (rows["kind"] == "probability") & rows["target"].notna()]
        name = where if len(block["outputs"]) == 1 else f"{where}_{output}"
        title = name if model.neg_pos_ratio is None else f"{name}, images unweighted"
        tracker.figure(f"{name}_curves.png", curves_figure(part, title))
        tracker.figure(f"{name}_confusion.png", confusion_figure(part, thresholds[number], output))


def _bring_missing_runs(folder: Path) -> None:
    """Import runs that are in no store because the store was down when they ended."""
    for record in sorted(folder.glob("**/run.json")):
        if read_json(record)["run_id"] is None:
            import_run(record.parent)
