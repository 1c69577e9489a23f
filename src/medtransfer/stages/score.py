"""``medtransfer score STUDY``: metrics with intervals, written for DVC and added to the run of every fit."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from medtransfer import paths
from medtransfer.evaluation.predictions import read_predictions
from medtransfer.evaluation.scorecard import scorecard
from medtransfer.files import read_json, write_json
from medtransfer.params import load_params
from medtransfer.reporting.evaluation import confusion_figure, curves_figure
from medtransfer.stages.predict import ATTENTION_OFF
from medtransfer.studies.attentive_transfer import study
from medtransfer.tracking.mlflow_tracker import append, import_run


def run(options: Namespace) -> None:
    """Write ``metrics/<study>.json`` and append test metrics and figures to the tracked runs."""
    params = load_params()
    table = read_predictions(paths.OUT / options.study / "predictions.parquet")
    table = table[~table["output"].str.endswith(ATTENTION_OFF)]
    card = scorecard(table, params.evaluation)
    write_json(paths.METRICS / f"{options.study}.json", card)
    _bring_missing_runs(paths.OUT / options.study)
    inner, positive = params.attentive_transfer.finetune.dataset, params.attentive_transfer.positive
    for (network, chain, seed), rows in table.groupby(["network", "chain", "seed"]):
        records = study.finetuned_folder(network, chain) / "records" / f"seed{seed}"
        with append(records) as tracker:
            for (dataset, split), part in rows.groupby(["dataset", "split"]):
                entry = card[f"{network}-{chain}/{network}/{chain}/{dataset}/{split}"]
                where = split if dataset == inner else f"outside_{dataset}"
                tracker.metrics(_of_seed(entry, seed, where, positive), 0)
                if split == "test":
                    threshold = entry["probability"]["thresholds"][positive][entry["seeds"].index(seed)]
                    tracker.figure(f"{where}_curves.png", curves_figure(part, where))
                    tracker.figure(f"{where}_confusion.png", confusion_figure(part, threshold, positive))


def _bring_missing_runs(folder: Path) -> None:
    """Import the pretraining runs that no store has taken because it was down when they ended."""
    for record in sorted(folder.glob("pretrained/*/records/*/run.json")):
        if read_json(record)["run_id"] is None:
            import_run(record.parent)


def _of_seed(entry: dict[str, Any], seed: int, where: str, positive: str) -> dict[str, float]:
    """Return one seed's metrics of an entry as ``<where>/<metric>_<positive>``; undefined ones are left out."""
    number = entry["seeds"].index(seed)
    metrics = entry["probability"]["metrics"]
    values = {name: summary["per_seed"][number] for name, summary in metrics.items()}
    return {f"{where}/{name}_{positive}": value for name, value in values.items() if value is not None}
