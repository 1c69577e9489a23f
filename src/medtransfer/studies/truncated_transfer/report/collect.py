"""Assemble the report of the truncated-transfer study; no file is written here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medtransfer.evaluation.cells import Row
from medtransfer.evaluation.claims import Judged
from medtransfer.evaluation.pairs import differences, paired_tests
from medtransfer.files import read_json
from medtransfer.reporting.content import Figure, ReportContent, Table
from medtransfer.reporting.input import ReportInput
from medtransfer.reporting.origin import champions_of, provenance_table, uncommitted
from medtransfer.reporting.records import Fit, provenance, recorded_fits
from medtransfer.studies.truncated_transfer.claims import METRICS, Ties, claims, judge_claim, judge_ties
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig
from medtransfer.studies.truncated_transfer.report.balance import balance_note, noted_figures, noted_tables
from medtransfer.studies.truncated_transfer.report.convergence import (
    TRIAL,
    convergence,
    convergence_figure,
    convergence_table,
    validation_curves,
)
from medtransfer.studies.truncated_transfer.report.cost import cost_figure, cost_table
from medtransfer.studies.truncated_transfer.report.example import example_figure, example_table
from medtransfer.studies.truncated_transfer.report.figures import (
    cuts_figure,
    networks_figure,
    transfer_figure,
    transfusion_figure,
)
from medtransfer.studies.truncated_transfer.report.findings import findings_table
from medtransfer.studies.truncated_transfer.report.headline import headline
from medtransfer.studies.truncated_transfer.report.learning_rates import learning_rates, rates_table, undertuned
from medtransfer.studies.truncated_transfer.report.names import GLOSSARY, condition_title, network_title, start_title
from medtransfer.studies.truncated_transfer.report.paper_values import paper_values_table
from medtransfer.studies.truncated_transfer.report.results import Results, pairs
from medtransfer.studies.truncated_transfer.report.results import results as measure_results
from medtransfer.studies.truncated_transfer.report.similarity import depths, similarity_figure, similarity_table
from medtransfer.studies.truncated_transfer.report.tables import (
    claims_table,
    cuts_table,
    kinds_table,
    networks_table,
    tests_table,
    ties_table,
    transfer_table,
    transfusion_table,
)
from medtransfer.studies.truncated_transfer.report.windows import windows_table

TITLE = "Truncated transfer: how much of a pretrained network is needed?"
ABOUT = (
    "Networks cut early against whole, slim and small ones, from pretrained (TL) and from random weights (RI), with "
    "much and with little training data, measured by AUROC and AUPRC: a reproduction of the study of Peng et al. 2021 "
    "that adds cost, intervals, tests and similarity by depth."
)


def collect(data: ReportInput[TruncatedTransferConfig]) -> ReportContent:
    """Compute the content of the report.

    The side files are cost.json and similarity.json.

    Raises:
        DataError: the predictions table or a record is not valid.
    """
    config, results = data.config, measure_results(data.predictions, data.config, data.evaluation)
    costs, alike = (read_json(data.results / name) for name in ("cost.json", "similarity.json"))
    compared = _compare(results)
    months = windows_table(data.predictions, results, data.origin.datasets)
    note = balance_note(config)
    recorded = _recorded(data)
    fits, rates, best = provenance(recorded), learning_rates(recorded, config), convergence(recorded)
    return ReportContent(
        title=TITLE,
        about=ABOUT,
        **data.parts(),
        headline=headline(compared.judged, compared.ties, costs, compared.rows),
        champions=champions_of(data.champions, fits, _named),
        results=(
            *noted_tables(_performance(results, compared, costs, months), note),
            rates_table(rates, best, config),
            convergence_table(best, config),
            similarity_table(depths(alike), alike),
            example_table(),
            paper_values_table(results, compared.rows, costs),
        ),
        figures=(
            *noted_figures((cost_figure(results, compared.rows, costs), *_figures(compared)), note),
            example_figure(),
            *_figures_of_training(recorded, alike, config),
        ),
        provenance=(provenance_table(fits),),
        limits=(*_limits(config), *undertuned(rates, best), *uncommitted(fits)),
        glossary=GLOSSARY,
    )


def _recorded(data: ReportInput[TruncatedTransferConfig]) -> list[Fit]:
    """Return the fits of the study's networks and conditions, with the trials of their learning rates."""
    own = {condition.name for condition in data.config.conditions()}
    fits = recorded_fits(data.folder, (*data.config.start, *data.config.variants))

    def of_study(names: Mapping[str, Any]) -> bool:
        seeds = names["seed"] in data.config.seeds or TRIAL in names["condition"]
        return names["phase"] != "finetune" or (names["condition"].partition(TRIAL)[0] in own and seeds)

    return [fit for fit in fits if of_study(fit[0])]


@dataclass(frozen=True)
class _Compared:
    """Values; differences: TL − RI, cut against whole (relative), truncated − transfusion; tests, claims and ties."""

    rows: list[Row]
    gains: list[Row]
    cuts: list[Row]
    tops: list[Row]
    tests: list[Row]
    judged: list[Judged]
    ties: list[Ties]


def _compare(results: Results) -> _Compared:
    gains, cuts, tops = (pairs(results.config, claim) for claim in ("a1", "b", "b_transfusion"))
    return _Compared(
        rows=results.rows(),
        gains=differences(results.cells, gains, METRICS),
        cuts=differences(results.cells, cuts, METRICS, relative=True),
        tops=differences(results.cells, tops, METRICS),
        tests=paired_tests(results.cells, [*gains, *cuts, *tops], METRICS),
        judged=[(claim, judge_claim(claim, results.cells)) for claim in claims(results.config)],
        ties=[judge_ties(results.cells, condition.name) for condition in results.conditions],
    )


def _performance(results: Results, compared: _Compared, costs: Mapping[str, Any], months: Table | None) -> list[Table]:
    """Return the tables of test results, the most important first; none of what was not run."""
    tables = [
        networks_table(results, compared.rows, costs),
        claims_table(compared.judged, compared.ties),
        transfer_table(compared.rows, compared.gains),
        cuts_table(compared.cuts),
        transfusion_table(compared.rows, compared.tops, results.config),
        tests_table(compared.tests),
        kinds_table(results, compared.rows),
        ties_table(compared.ties),
        findings_table(results),
        months,
        cost_table(results, compared.rows, costs),
    ]
    return [table for table in tables if table and table.rows]


def _figures(compared: _Compared) -> list[Figure]:
    """Return Fig. 3 to 7; figures without a point are left out, as their tables are."""
    figures = [
        transfer_figure(compared.rows, compared.gains) if compared.gains else None,
        cuts_figure(compared.cuts) if compared.cuts else None,
        transfusion_figure(compared.rows, compared.tops) if compared.tops else None,
        networks_figure(compared.rows),
    ]
    return [figure for figure in figures if figure]


def _figures_of_training(
    recorded: Sequence[Fit], alike: Mapping[str, Any], config: TruncatedTransferConfig
) -> Iterator[Figure]:
    """Yield the learning curves, and the similarity to the start if any fit has one."""
    yield convergence_figure(validation_curves(recorded), config)
    if alike["fits"]:
        yield similarity_figure(depths(alike))


def _named(variant: str, condition: str) -> dict[str, str]:
    """Return the parts of a champion's variant and condition, by title."""
    names = {"Network": network_title(variant), "Start": start_title(variant)}
    return names | {"Setting": condition_title(condition)}


def _limits(config: TruncatedTransferConfig) -> tuple[str, ...]:
    seeds = len(config.seeds)
    chosen = "Tuned learning rates were chosen once, with the first seed; no interval includes the variation of this."
    return (
        f"Every fit was run with {seeds} {'seed' if seeds == 1 else 'seeds'}, all from one pretrained network; no "
        "interval includes the variation of pretraining."
        + (" With one seed, no interval includes the random variation of training." if seeds == 1 else ""),
        *([chosen] if "tuned" in config.protocols else []),
        "Every cut is a claim of its own: choosing the best of several cuts by its test value would be optimistic.",
        "The paper’s COVID-19 set is private and its results are bars without numbers; only the numbers in its text "
        "are compared with ours.",
        "Intervals are per comparison; p-values are adjusted for their number, claims are not.",
        "Times were measured on one machine that may have run other work; ratios of networks are more reliable than "
        "seconds.",
    )
