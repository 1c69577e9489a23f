"""Put the report of the truncated-transfer study together; no file is written here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from medtransfer.evaluation.scorecard import EvaluationConfig
from medtransfer.evaluation.summary import LEVEL
from medtransfer.files import read_json
from medtransfer.reporting.content import ReportContent, Table
from medtransfer.reporting.origin import datasets_table, gate_tables, pictures, provenance_table, uncommitted
from medtransfer.reporting.records import provenance
from medtransfer.reporting.truncated import tables
from medtransfer.reporting.truncated.fits import arm_fits
from medtransfer.reporting.truncated.headline import headline
from medtransfer.reporting.truncated.values import (
    Results,
    differences,
    paired_tests,
    pairs,
    results,
    trapezoids,
    values,
)
from medtransfer.studies.truncated_transfer.claims import claims, judge_claim, judge_ties
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig

TITLE = "Truncated transfer: how much of a pretrained network is needed?"
ABOUT = (
    "Networks cut early against whole, slim and small ones, from pretrained (TL) and from random weights (RI), with "
    "much and with little training data, judged by AUROC and by AUPRC: the study of Peng et al. 2021, rebuilt, with "
    "what the paper has not: cost, intervals, tests and similarity by depth."
)


def collect(
    predictions: pd.DataFrame,
    *,
    study_folder: Path,
    gate: Mapping[str, Any],
    datasets: Mapping[str, Mapping[str, Any]],
    profile: str,
    config: TruncatedTransferConfig,
    evaluation: EvaluationConfig,
) -> ReportContent:
    """Compute everything that the report says.

    Args:
        predictions: the study's predictions table.
        study_folder: ``out/<study>``, with ``pretrained/``, ``finetuned/``, cost.json and similarity.json.
        gate: content of gate.json.
        datasets: name → content of dataset.json, ``phantoms`` (bool), ``until`` (the last day before a chronological
            test split, or None), ``splits`` {split: {images, patients}}.
        profile: name of the parameter profile.
        config: the study's parameters.
        evaluation: resamples of the intervals.

    Raises:
        DataError: the predictions table or a record is not what it promises.
    """
    found = results(predictions, config, evaluation)
    costs = read_json(study_folder / "cost.json")
    judged = [
        (claim, judge_claim(claim, found.measured, level=LEVEL, seed=evaluation.seed)) for claim in claims(config)
    ]
    ties = [judge_ties(found.measured, cell, level=LEVEL, seed=evaluation.seed) for cell in found.cells]
    fits = provenance(arm_fits(study_folder, config))
    return ReportContent(
        title=TITLE,
        about=ABOUT,
        origin=pictures(datasets, profile),
        phantoms=any(meta["phantoms"] for meta in datasets.values()),
        headline=headline(judged, ties, costs),
        champion=(),
        results=(
            *_performance(found, costs),
            tables.claims_table(judged, ties),
            tables.ties_table(ties),
        ),
        figures=(),
        data=(datasets_table(datasets), *gate_tables(gate)),
        provenance=(provenance_table(fits),),
        limits=(*_limits(found), *uncommitted(fits)),
    )


def _performance(found: Results, costs: Mapping[str, Any]) -> list[Table]:
    """Return the tables of test results; the first leads the study on the front page."""
    rows, config = values(found), found.config
    gains, cuts, tops = (pairs(config, claim) for claim in ("a1", "b", "b_transfusion"))
    return [
        tables.networks_table(found, rows, costs),
        tables.transfer_table(rows, differences(found, gains)),
        tables.cuts_table(differences(found, cuts, relative=True)),
        tables.transfusion_table(rows, differences(found, tops), config),
        tables.tests_table(paired_tests(found, [*gains, *cuts, *tops])),
        tables.kinds_table(rows, trapezoids(found)),
    ]


def _limits(found: Results) -> tuple[str, ...]:
    seeds = len(found.config.seeds)
    limits = [
        f"Every fit was run with {seeds} {'seed' if seeds == 1 else 'seeds'}, all from one pretrained network; chance "
        "in pretraining is in no interval."
        + (" With one seed, chance in training is not part of any interval." if seeds == 1 else ""),
        "Cuts are claims of their own: the best of several by its test value would flatter itself.",
        "The paper’s COVID-19 set is private and its results are bars without numbers; only what its text states "
        "stands beside ours.",
        "Intervals are per comparison; p-values are adjusted for their number, claims are not.",
        "Times were measured on one machine with whatever else it did; ratios of networks are sounder than seconds.",
    ]
    return tuple(limits)
