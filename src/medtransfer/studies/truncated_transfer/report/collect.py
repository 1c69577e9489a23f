"""Put the report of the truncated-transfer study together; no file is written here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from medtransfer.evaluation.contrasts import Judged
from medtransfer.evaluation.scorecard import EvaluationConfig
from medtransfer.evaluation.summary import LEVEL
from medtransfer.files import read_json
from medtransfer.reporting.content import Figure, ReportContent, Table
from medtransfer.reporting.origin import Origin, provenance_table, uncommitted
from medtransfer.reporting.records import Fit, provenance
from medtransfer.studies.truncated_transfer.claims import Claim, Ties, claims, judge_claim, judge_ties
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig
from medtransfer.studies.truncated_transfer.report import figures, tables
from medtransfer.studies.truncated_transfer.report.balance import balance_note, noted_figures, noted_tables
from medtransfer.studies.truncated_transfer.report.convergence import (
    convergence,
    convergence_figure,
    convergence_table,
    validation_curves,
)
from medtransfer.studies.truncated_transfer.report.cost import cost_figure, cost_table
from medtransfer.studies.truncated_transfer.report.example import example_figure, example_table
from medtransfer.studies.truncated_transfer.report.findings import findings_table
from medtransfer.studies.truncated_transfer.report.fits import variant_fits
from medtransfer.studies.truncated_transfer.report.headline import headline
from medtransfer.studies.truncated_transfer.report.learning_rates import learning_rates, rates_table, starved
from medtransfer.studies.truncated_transfer.report.paper_values import stated_table
from medtransfer.studies.truncated_transfer.report.similarity import depths, similarity_figure, similarity_table
from medtransfer.studies.truncated_transfer.report.values import (
    Results,
    Row,
    differences,
    paired_tests,
    pairs,
    results,
    trapezoids,
    values,
)
from medtransfer.studies.truncated_transfer.report.windows import windows_table

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
    origin: Origin,
    config: TruncatedTransferConfig,
    evaluation: EvaluationConfig,
) -> ReportContent:
    """Compute everything that the report says.

    Args:
        predictions: the study's predictions table.
        study_folder: ``out/<study>``, with ``pretrained/``, ``finetuned/``, cost.json and similarity.json.
        origin: where the pictures come from.
        config: the study's parameters.
        evaluation: resamples of the intervals.

    Raises:
        DataError: the predictions table or a record is not what it promises.
    """
    found = results(predictions, config, evaluation)
    costs, alike = (read_json(study_folder / name) for name in ("cost.json", "similarity.json"))
    compared = _compare(found)
    months = windows_table(predictions, found, origin.datasets)
    note = balance_note(config)
    recorded = list(variant_fits(study_folder, config))
    fits, rates, best = provenance(recorded), learning_rates(recorded, config), convergence(recorded)
    return ReportContent(
        title=TITLE,
        about=ABOUT,
        **origin.parts(),
        headline=headline(compared.judged, compared.ties, costs),
        champion=(),
        results=(
            *noted_tables(_performance(found, compared, costs, months), note),
            rates_table(rates, best, config),
            convergence_table(best, config),
            similarity_table(depths(alike), alike),
            example_table(),
            stated_table(found, compared.rows, costs),
        ),
        figures=(
            example_figure(),
            *noted_figures((*_figures(compared), cost_figure(found, compared.rows, costs)), note),
            *_figures_of_training(recorded, alike, config),
        ),
        provenance=(provenance_table(fits),),
        limits=(*_limits(config), *starved(rates, best), *uncommitted(fits)),
    )


@dataclass(frozen=True)
class _Compared:
    """Values; differences by figure: TL − RI, cut against whole (relative), truncated − transfusion; what they mean."""

    rows: list[Row]
    gains: list[Row]
    cuts: list[Row]
    tops: list[Row]
    tests: list[Row]
    judged: list[tuple[Claim, dict[str, Judged]]]
    ties: list[Ties]


def _compare(found: Results) -> _Compared:
    gains, cuts, tops = (pairs(found.config, claim) for claim in ("a1", "b", "b_transfusion"))
    how: dict[str, Any] = {"level": LEVEL, "seed": found.settings.seed}
    return _Compared(
        rows=values(found),
        gains=differences(found, gains),
        cuts=differences(found, cuts, relative=True),
        tops=differences(found, tops),
        tests=paired_tests(found, [*gains, *cuts, *tops]),
        judged=[(claim, judge_claim(claim, found.measured, **how)) for claim in claims(found.config)],
        ties=[judge_ties(found.measured, condition, **how) for condition in found.conditions],
    )


def _performance(found: Results, compared: _Compared, costs: Mapping[str, Any], months: Table | None) -> list[Table]:
    """Return the tables of test results, the leading one first; findings and months where the tasks have them."""
    shown = [
        tables.networks_table(found, compared.rows, costs),
        tables.claims_table(compared.judged, compared.ties),
        tables.transfer_table(compared.rows, compared.gains),
        tables.cuts_table(compared.cuts),
        tables.transfusion_table(compared.rows, compared.tops, found.config),
        tables.tests_table(compared.tests),
        tables.kinds_table(compared.rows, trapezoids(found)),
        tables.ties_table(compared.ties),
        findings_table(found),
        months,
        cost_table(found, compared.rows, costs),
    ]
    return [table for table in shown if table]


def _figures(compared: _Compared) -> list[Figure]:
    """Return Fig. 3 to 7; those without a point are left out, their tables say why."""
    drawn = [
        figures.transfer_figure(compared.rows, compared.gains) if compared.gains else None,
        figures.cuts_figure(compared.cuts) if compared.cuts else None,
        figures.transfusion_figure(compared.rows, compared.tops) if compared.tops else None,
        figures.networks_figure(compared.rows),
    ]
    return [figure for figure in drawn if figure]


def _figures_of_training(
    recorded: Sequence[Fit], alike: Mapping[str, Any], config: TruncatedTransferConfig
) -> Iterator[Figure]:
    """Yield the learning curves, and the similarity to the start where any fit has one."""
    yield convergence_figure(validation_curves(recorded), config)
    if alike["fits"]:
        yield similarity_figure(depths(alike))


def _limits(config: TruncatedTransferConfig) -> tuple[str, ...]:
    seeds = len(config.seeds)
    chosen = "Tuned learning rates were chosen once, with the first seed; chance in that choice is in no interval."
    return (
        f"Every fit was run with {seeds} {'seed' if seeds == 1 else 'seeds'}, all from one pretrained network; chance "
        "in pretraining is in no interval."
        + (" With one seed, chance in training is not part of any interval." if seeds == 1 else ""),
        *([chosen] if "tuned" in config.protocols else []),
        "Cuts are claims of their own: the best of several by its test value would flatter itself.",
        "The paper’s COVID-19 set is private and its results are bars without numbers; only what its text states "
        "stands beside ours.",
        "Intervals are per comparison; p-values are adjusted for their number, claims are not.",
        "Times were measured on one machine with whatever else it did; ratios of networks are sounder than seconds.",
    )
