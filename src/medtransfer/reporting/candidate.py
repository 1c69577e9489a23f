"""What the registry is told about a candidate: its facts, put together from records, predictions and data sets."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from medtransfer.evaluation.calibration import temperature_from_validation
from medtransfer.evaluation.cells import EvaluationConfig, Key
from medtransfer.evaluation.noninferiority import anonymous
from medtransfer.evaluation.scorecard import fit_intervals
from medtransfer.reporting.model_card import CardFacts, model_card, version_description
from medtransfer.tracking.chain import Opening, in_words, is_dirty, rebuild
from medtransfer.tracking.gates import AUDIT, LEAKS, METRIC
from medtransfer.tracking.registry import About
from medtransfer.tracking.tracker import DatasetInput

MOST = 20.0
"""A temperature above it, or below its inverse, is where the search ends rather than a minimum of the loss."""
NUMBERS = ("auroc", "auprc", "sensitivity", "specificity", "f1", "accuracy", "brier", "ece", "macro_auroc", "macro_f1")


def card_facts(
    best: Mapping[str, Any],
    *,
    model: str,
    network: str,
    dataset: str,
    rivals: int,
    chain: Sequence[Opening],
    datasets: Mapping[str, Mapping[str, Any]],
    rows: pd.DataFrame,
    evaluation: EvaluationConfig,
    neg_pos_ratio: Mapping[Key, float],
    audit: str,
) -> CardFacts:
    """Return what the card of a candidate says.

    Args:
        best: result of ``scorecard.best_fit``.
        model: name of the registered model.
        network: name of the architecture.
        dataset: the data set of fine-tuning.
        rivals: how many fits competed.
        chain: the candidate's run and its parents, the run last.
        datasets: name → content of dataset.json with ``phantoms`` and ``splits``, of all data sets of the study.
        rows: the candidate's rows of the predictions table.
        evaluation: how scores become numbers.
        neg_pos_ratio: as in ``cells.measure``.
        audit: what the audit found, its verdict on the model first.
    """
    own, results = chain[-1], fit_intervals(rows, evaluation, neg_pos_ratio=neg_pos_ratio)
    read = {each["name"] for run in chain for each in run["datasets"]} | {name for name, _ in results}
    return CardFacts(
        model=model,
        study=own["experiment"],
        paper=own["tags"].get("paper", ""),
        network=network,
        title=own["name"],
        dataset=dataset,
        datasets={name: meta for name, meta in datasets.items() if name in read},
        results=results,
        metric=best["metric"],
        value=best["value"],
        rivals=rivals,
        audit=audit,
        steps=[in_words(run) for run in chain],
        rebuild=rebuild(chain, f"register@{own['experiment']}"),
        dirty=any(is_dirty(run) for run in chain),
    )


def about(
    facts: CardFacts, best: Mapping[str, Any], rows: pd.DataFrame, *, gate: str, tags: Mapping[str, str]
) -> About:
    """Return what the registry stores beside a candidate's weights.

    Args:
        facts: see :func:`card_facts`.
        best: result of ``scorecard.best_fit``.
        rows: the candidate's rows of the predictions table.
        gate: what the leak gate said, beginning with ``open`` or ``closed``.
        tags: further tags of the version.
    """
    own = {key: str(best[key]) for key in ("variant", "condition", "seed", "metric")}
    own |= {f"val_{best['metric']}": f"{best['value']:.4f}", LEAKS: gate, METRIC: best["metric"]}
    own[AUDIT] = facts.audit
    validation = rows[(rows["split"] == "val") & (rows["dataset"] == facts.dataset)]
    return About(
        tags={**own, **tags},
        description=version_description(facts),
        card=model_card(facts),
        validation=anonymous(validation),
        metrics=_numbers(facts),
        temperatures=temperatures(validation),
    )


def temperatures(validation: pd.DataFrame) -> dict[str, float]:
    """Return the temperature of each probability, fitted on one fit's validation rows; 1 where they determine none.

    That is where a class is absent, or where the classes are so far apart that every lower temperature fits better.
    """
    found = {}
    for output, rows in validation[validation["kind"] == "probability"].groupby("output", sort=False):
        known = rows.dropna(subset=["target"])
        fitted = temperature_from_validation(rows) if known["target"].nunique() == 2 else 1.0
        found[str(output)] = fitted if 1 / MOST <= fitted <= MOST else 1.0
    return found


def _numbers(facts: CardFacts) -> dict[DatasetInput, dict[str, float]]:
    """Return the numbers of a logged model by data set, each with the bounds of its interval."""
    numbers: dict[DatasetInput, dict[str, float]] = {}
    for (name, split), values in facts.results.items():
        digest = facts.datasets[name]["content_hash"][:36]
        where = split if name == facts.dataset else f"outside_{name}"
        numbers[DatasetInput(name=name, digest=digest, split=split)] = {
            f"{where}/{metric}{end}": round(value, 3)
            for metric, one in values.items()
            if metric in NUMBERS
            for end, value in (("", one.value), ("_low", one.low), ("_high", one.high))
            if value == value
        }
    return numbers


def fits_rows(table: pd.DataFrame, fit: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of one fit without an intervention; ``fit`` has ``variant``, ``condition`` and ``seed``."""
    own = table[["variant", "condition", "seed"]] == [fit[key] for key in ("variant", "condition", "seed")]
    asked = (table["intervention"] == "") & (table["kind"] == "probability")
    return table[own.all(axis=1) & asked].reset_index(drop=True)


def data_facts(content: Mapping[str, Any], manifest: pd.DataFrame, *, phantoms: bool) -> dict[str, Any]:
    """Return what reports and cards say of a data set: dataset.json, ``phantoms``, ``splits`` with their sizes."""
    groups = manifest.groupby("split")["patient_id"]
    splits = {split: {"images": len(ids), "patients": ids.nunique()} for split, ids in groups}
    return {**content, "phantoms": phantoms, "splits": splits}
