"""Put the report together from a study's predictions, records and side files; no file is written here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medtransfer.files import read_json
from medtransfer.reporting.content import Figure, ReportContent, Table, Text
from medtransfer.reporting.formatting import (
    number,
)
from medtransfer.reporting.origin import Origin, digests, provenance_table, short, tree_state, uncommitted
from medtransfer.reporting.records import Fit, chain_fits, curves, provenance
from medtransfer.studies.attentive_transfer.paper.values import TABLES, WHOLE_CHAIN, network_title
from medtransfer.studies.attentive_transfer.report import figures, tables
from medtransfer.studies.attentive_transfer.report.attention import attention_table, layer_frame
from medtransfer.studies.attentive_transfer.report.budgets import shared_budget
from medtransfer.studies.attentive_transfer.report.comparisons import (
    attention_against_convolution,
    method_against_method,
)
from medtransfer.studies.attentive_transfer.report.explanations import explanation_figures, explanation_tables
from medtransfer.studies.attentive_transfer.report.misprints import slips_table
from medtransfer.studies.attentive_transfer.report.names import chain_title
from medtransfer.studies.attentive_transfer.report.results import (
    Grid,
    ReportSettings,
    attention_change,
    estimates,
    measure,
)
from medtransfer.studies.attentive_transfer.report.sources import source_frame, source_table
from medtransfer.studies.attentive_transfer.report.transferability import (
    correlation_table,
    leep_figure,
    leep_table,
    routes_table,
)
from medtransfer.studies.attentive_transfer.report.transitions import correlations, hand_overs, read_scores, step_gains
from medtransfer.studies.attentive_transfer.report.verdicts import claims_table, headline, judgements

ABOUT = (
    "ResNets with self-attention (ATTN) against plain ones, pretrained on natural images (STL-N), then chest X-rays "
    "(STL-M), then self-supervised on CT (SSTL-M), and fine-tuned to tell COVID-19 on CT slices: the study of "
    "Liu & Ji 2021, rebuilt. Paper values stand beside ours."
)

FEW_SEEDS = 4
"""Up to so many, the report says that an interval over them is too narrow."""


def collect(
    predictions: pd.DataFrame,
    *,
    study_folder: Path,
    origin: Origin,
    registry: Mapping[str, Any],
    config: ReportSettings,
) -> ReportContent:
    """Compute everything that the report says.

    Args:
        predictions: the study's predictions table.
        study_folder: ``out/<study>``, with ``pretrained/``, ``finetuned/``, transferability.csv and ``explanations/``.
        origin: where the pictures come from.
        registry: content of champion.json: ``model, version, alias, network, chain, seed, val_auroc, run_key``; empty
            when no model is registered.
        config: what to show.

    Raises:
        DataError: the predictions table or a record is not what it promises.
    """
    grid = measure(predictions, config)
    inactive = attention_change(predictions, config)
    scores, looks = read_scores(study_folder / "transferability.csv"), study_folder / "explanations"
    facts = read_json(looks / "explanations.json")
    verdicts = judgements(grid, inactive, config)
    seeds = len(next(iter(next(iter(grid.values())).values())).seeds)
    recorded = list(chain_fits(study_folder, config.networks))
    fits = provenance(recorded)
    return ReportContent(
        title="Attentive transfer: does attention transfer better than convolution?",
        about=ABOUT,
        **origin.parts(),
        headline=headline(next(iter(verdicts.values())), inactive, config, seeds),
        champion=_champion(registry, fits),
        results=(
            *_performance(predictions, grid, inactive, config),
            *_attention(recorded, grid, inactive, config),
            leep_table(scores, grid, config),
            routes_table(hand_overs(scores, grid, config), step_gains(grid, config)),
            correlation_table(correlations(scores, grid)),
            *explanation_tables(facts),
            claims_table(verdicts),
            slips_table(),
        ),
        figures=(*_figures(grid, recorded, scores, config), *explanation_figures(looks, facts, recorded)),
        provenance=(provenance_table(fits),),
        limits=_limits(grid, fits, config),
    )


def _performance(predictions: pd.DataFrame, grid: Grid, inactive: pd.DataFrame, config: ReportSettings) -> list[Table]:
    """Return the tables of test results: the grid and Tables 1 to 5."""
    found = estimates(grid, config).query("metric == 'auroc'")
    outside = {name: found[found["dataset"] == name] for name in list(grid)[1:]}
    shown = [tables.grid_table(grid, config, inactive), source_table(source_frame(predictions, config), config)]
    return shown + [
        tables.paper_table(table, tables.paper_frame(table, grid, config), inactive, outside) for table in TABLES
    ]


def _attention(fits: Sequence[Fit], grid: Grid, inactive: pd.DataFrame, config: ReportSettings) -> list[Table]:
    """Return whether attention is at work, and the paired comparisons of networks and of methods."""
    names = (config.networks, config.chains)
    networks = {name: attention_against_convolution(cells, *names) for name, cells in grid.items()}
    methods = {name: method_against_method(cells, *names) for name, cells in grid.items()}
    shown = [attention_table(layer_frame(fits), inactive, *names), tables.comparison_table(networks, inactive)]
    if next(iter(methods.values())).empty:
        return shown
    return [*shown, tables.method_table(methods, shared_budget(config.budgets))]


def _champion(registry: Mapping[str, Any], fits: pd.DataFrame) -> tuple[tuple[str, Text], ...]:
    """Return the registered model's facts, with data, commit and run out of the record of its fit."""
    if not registry:
        return ()
    facts = [
        ("Model", Text(f"{registry['model']}, version {registry['version']} @{registry['alias']}")),
        ("Network", Text(network_title(registry["network"]))),
        ("Chain", Text(chain_title(registry["chain"]))),
        ("Seed", Text(str(registry["seed"]))),
        ("Validation AUROC", Text(number(registry["val_auroc"]))),
    ]
    for fit in fits[fits["run_key"] == registry["run_key"]].itertuples():
        facts += [
            ("Run", Text(fit.name, hover=f"run key {fit.run_key}")),
            ("Commit", Text(short(fit.git_commit).main, tree_state(fit.git_dirty), str(fit.git_commit))),
            ("Data", digests(fit.data)),
            ("Parameters", short(fit.params_fingerprint)),
        ]
    return tuple(facts)


def _figures(grid: Grid, fits: Sequence[Fit], scores: pd.DataFrame, config: ReportSettings) -> list[Figure]:
    cells = next(iter(grid.values()))
    auroc = (f"val/auroc_{config.positive}", "val/macro_auroc")
    history = curves(fits, {"loss": ["train/loss"], "auroc": auroc})
    drawn = [figures.forest(estimates(grid, config).query("metric == 'auroc'"))]
    ends = {chain for _, chain in cells}
    both_classes = len(set(next(iter(cells.values())).target)) == 2
    if WHOLE_CHAIN in ends and both_classes:
        drawn.append(figures.operating_curves(cells, config.networks, WHOLE_CHAIN))
    titles = {"finetuned": "Learning curves of fine-tuning", "pretrained": "Learning curves of pretraining"}
    for phase, title in titles.items():
        if (history["phase"] == phase).any():
            drawn.append(figures.learning_curves(history, phase, title, config.networks))
    return [*drawn, leep_figure(scores, config)]


def _limits(grid: Grid, fits: pd.DataFrame, config: ReportSettings) -> tuple[str, ...]:
    cell = next(iter(next(iter(grid.values())).values()))
    seeds = len(cell.seeds)
    rule = (
        "0.5" if config.threshold == "half" else f"the rule “{config.threshold}” on validation images of the same fit"
    )
    runs = config.pretraining_runs
    limits = [
        f"The test set has {cell.images} images of {cell.patients} patients; fine-tuning was run with {seeds} "
        f"{'seed' if seeds == 1 else 'seeds'} from {runs} pretraining {'run' if runs == 1 else 'runs'} of each chain.",
        *_chance(seeds, runs),
        f"Thresholds of accuracy and F1 are chosen by {rule}; the paper does not say how it chose its own.",
        "The paper’s numbers come from its own data, sizes and training budget; they are no target for this profile.",
        "Intervals are per comparison; only DeLong’s p-values are adjusted for their number.",
    ]
    return (*limits, *uncommitted(fits))


def _chance(seeds: int, pretraining_runs: int) -> list[str]:
    """Say which chance the intervals do not hold.

    Drawing n seeds anew shows on average (n − 1) ÷ n of the variance between seeds.
    """
    said = []
    if seeds == 1:
        said.append("With one seed, chance in training is not part of any interval.")
    elif seeds <= FEW_SEEDS:
        share = round(100 * (seeds - 1) / seeds)
        said.append(
            f"An interval over {seeds} seeds is too narrow: drawing from so few shows on average {share} % of the "
            "variance of training."
        )
    if pretraining_runs == 1:
        said.append("Each network was pretrained once along a chain: chance in pretraining is in no interval.")
    return said
