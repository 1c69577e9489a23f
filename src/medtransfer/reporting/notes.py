"""Descriptions in words for the tracker's pages: what a run is, on what images, with which result, from where."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medtransfer.files import read_json
from medtransfer.reporting.formatting import METRIC_TITLES
from medtransfer.reporting.model_card import images_in_words
from medtransfer.tracking.mlflow_tracker import RUN, opening
from medtransfer.tracking.views import FIT

NOT_FOR_DIAGNOSIS = "**Not for diagnosis.**"
_PHASES = {
    "finetune": "Fine-tuning on the target task",
    "pretrain": "Pretraining",
    "trial": "Trial of a learning rate, which only helps to choose that of other fits",
    "stl_n": "Supervised pretraining on natural images",
    "stl_m": "Supervised pretraining on medical images",
    "sstl_m": "Self-supervised pretraining on medical images",
}


def run_note(
    run: Mapping[str, Any],
    names: Mapping[str, str],
    datasets: Mapping[str, Mapping[str, Any]],
    results: Sequence[str] = (),
) -> str:
    """Return the description of a run as Markdown; ``run:<key>`` stands for the address of a run.

    Args:
        run: opening of the run (``tracking.mlflow_tracker.opening``).
        names: run key → name, of all runs of the study.
        datasets: data set → ``{"phantoms": bool}``.
        results: the results in words.
    """
    tags = run["tags"]
    read = {each["name"]: datasets[each["name"]] for each in run["datasets"] if each["name"] in datasets}
    parents = [f"[{names[key]}](run:{key})" for key in run["parents"] if key in names]
    phase = _PHASES.get(tags["phase"], tags["phase"])
    lines = [
        f"{phase}: {tags.get('variant', '')}, {tags.get('condition', '')}, seed {tags.get('seed', '')}. "
        f"Study {run['experiment']} ({tags.get('paper', '')}).",
        images_in_words(read) if read else "",
        *results,
        f"Starts from {', '.join(parents)}." if parents else "Starts from untrained or ready-made weights.",
        NOT_FOR_DIAGNOSIS,
    ]
    return "\n\n".join(line for line in lines if line)


def notes_of_runs(
    records: Path,
    models: Iterable[Any],
    card: Mapping[str, Any],
    datasets: Mapping[str, Mapping[str, Any]],
    *,
    metric: str,
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Return descriptions and tags of all runs of a study, by run key; the tags name the weights by their hashes.

    Args:
        records: folder of the study's records; the weights are in the folder ``weights`` beside it.
        models: the study's fitted models (``records, variant, condition, seed, dataset``).
        card: result of ``scorecard.scorecard``.
        datasets: data set → ``{"phantoms": bool}``.
        metric: which result a description has.
    """
    runs = {path.parent: opening(path.parent) for path in sorted(records.glob(f"**/{RUN}"))}
    names = {run["run_key"]: run["name"] for run in runs.values()}
    scored = {model.records: model for model in models}
    notes, tags = {}, {}
    for folder, run in runs.items():
        results = []
        if model := scored.get(folder):
            fit = (model.variant, model.condition, model.seed)
            results = results_in_words(card, fit, metric, model.dataset)
        notes[run["run_key"]] = run_note(run, names, datasets, results)
        config = records.parent / "weights" / folder.relative_to(records) / "config.json"
        weights = _weights(read_json(config)) if config.exists() else {}
        tags[run["run_key"]] = {FIT: fit_in_words(run["name"]), **weights}
    return notes, tags


def fit_in_words(name: str) -> str:
    """Return a run's name without its phase and seed: what all seeds of a fit share."""
    return " · ".join(name.split(" · ")[1:-1]) or name


def experiment_note(
    study: str, paper: str, datasets: Mapping[str, Mapping[str, Any]], headline: Sequence[str] = ()
) -> str:
    """Return the description of a study's experiment."""
    lines = [
        f"{study}: the comparison of {paper}, computed again. One run per fit; the run of phase `summary` has "
        "tables with intervals and the report. Means over runs in charts say nothing of how sure they are.",
        images_in_words(datasets),
        *(f"- {line}" for line in headline),
        NOT_FOR_DIAGNOSIS,
    ]
    return "\n\n".join(lines)


def results_in_words(card: Mapping[str, Any], fit: tuple[str, str, int], metric: str, own: str) -> list[str]:
    """Return the test results of a fit, data set by data set, and their mean over seeds with its interval.

    Args:
        card: result of ``scorecard.scorecard``.
        fit: (variant, condition, seed).
        metric: a metric of the probabilities.
        own: the data set of fine-tuning.
    """
    variant, condition, seed = fit
    lines = []
    for key, entry in card.items():
        *place, dataset, split = key.split("/")
        measured = entry.get("probability", {}).get("metrics", {})
        if place != [variant, condition] or split != "test" or metric not in measured:
            continue
        found = measured[metric]
        value = found["per_seed"][entry["seeds"].index(seed)]
        where = "Test" if dataset == own else f"Outside test on {dataset}"
        text = f"{where}: {METRIC_TITLES.get(metric, metric)} {_number(value)}"
        if len(entry["seeds"]) > 1:
            text += f"; mean of {len(entry['seeds'])} seeds {_number(found['mean'])}"
        low, high = found.get("low_seeds", found["low"]), found.get("high_seeds", found["high"])
        chance = "patients and seeds" if "low_seeds" in found else "patients"
        interval = f" ({low:.3f} … {high:.3f}, 95 % over {chance})" if low is not None and high is not None else ""
        lines.append(f"{text}{interval}, {entry['images']} images of {entry['patients']} patients.")
    return lines


def _weights(config: Mapping[str, Any]) -> dict[str, str]:
    parent = config.get("extra", {}).get("parent", "")
    return {"weights_sha256": config["sha256"]} | ({"parent_sha256": parent} if parent else {})


def _number(value: float | None) -> str:
    return "no value" if value is None else f"{value:.3f}"
