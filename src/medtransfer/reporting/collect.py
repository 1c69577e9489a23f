"""Put the report together from a study's predictions, records and side files; no file is written here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pandas as pd

from medtransfer.evaluation.summary import LEVEL
from medtransfer.files import read_json
from medtransfer.reporting import figures, tables
from medtransfer.reporting.attention import attention_table, layer_frame
from medtransfer.reporting.cells import Grid, ReportSettings, attention_change, estimates, measure
from medtransfer.reporting.comparisons import attention_against_convolution, method_against_method
from medtransfer.reporting.content import Figure, ReportContent, Table, Text
from medtransfer.reporting.explanations import explanation_figures, explanation_tables
from medtransfer.reporting.handovers import correlations, hand_overs, read_scores
from medtransfer.reporting.origin import (
    datasets_table,
    digests,
    gate_tables,
    pictures,
    provenance_table,
    short,
    tree_state,
    uncommitted,
)
from medtransfer.reporting.records import Fit, chain_fits, curves, provenance
from medtransfer.reporting.sources import source_frame, source_table
from medtransfer.reporting.transferability import correlation_table, leep_figure, leep_table, routes_table
from medtransfer.reporting.words import chain_title, number, signed
from medtransfer.studies.attentive_transfer.claims import CLAIMS, Judgement, attention_pairs, judge
from medtransfer.studies.attentive_transfer.printed import TABLES, WHOLE_CHAIN, network_title

ABOUT = (
    "ResNets with self-attention (ATTN) against plain ones, pretrained on natural images (STL-N), then chest X-rays "
    "(STL-M), then self-supervised on CT (SSTL-M), and fine-tuned to tell COVID-19 on CT slices: the study of "
    "Liu & Ji 2021, rebuilt. Paper values stand beside ours."
)


def collect(
    predictions: pd.DataFrame,
    *,
    study_folder: Path,
    gate: Mapping[str, Any],
    datasets: Mapping[str, Mapping[str, Any]],
    registry: Mapping[str, Any],
    profile: str,
    config: ReportSettings,
) -> ReportContent:
    """Compute everything that the report says.

    Args:
        predictions: the study's predictions table.
        study_folder: ``out/<study>``, with ``pretrained/``, ``finetuned/``, transferability.csv and ``explanations/``.
        gate: content of gate.json.
        datasets: name → content of dataset.json, ``phantoms`` (bool), ``splits`` {split: {images, patients}}.
        registry: content of champion.json: ``model, version, alias, network, chain, seed, val_auroc, run_key``; empty
            when no model is registered.
        profile: name of the parameter profile.
        config: what to show.

    Raises:
        DataError: the predictions table or a record is not what it promises.
    """
    grid = measure(predictions, config)
    inactive = attention_change(predictions, config)
    scores, looks = read_scores(study_folder / "transferability.csv"), study_folder / "explanations"
    facts = read_json(looks / "explanations.json")
    verdicts = _judgements(grid, inactive, config)
    seeds = len(next(iter(next(iter(grid.values())).values())).seeds)
    recorded = list(chain_fits(study_folder, config.networks))
    fits = provenance(recorded)
    return ReportContent(
        title="Attentive transfer: does attention transfer better than convolution?",
        about=ABOUT,
        origin=pictures(datasets, profile),
        phantoms=any(meta["phantoms"] for meta in datasets.values()),
        headline=_headline(verdicts, config, seeds),
        champion=_champion(registry, fits),
        results=(
            *_performance(predictions, grid, inactive, config),
            *_attention(recorded, grid, inactive, config),
            leep_table(scores, grid, config),
            routes_table(hand_overs(scores, grid, config)),
            correlation_table(correlations(scores, grid)),
            *explanation_tables(facts),
            tables.claims_table(verdicts),
        ),
        figures=(*_figures(grid, recorded, scores, config), *explanation_figures(looks, facts, recorded)),
        data=(datasets_table(datasets), *gate_tables(gate)),
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
    cells, names = next(iter(grid.values())), (config.networks, config.chains)
    shown = [
        attention_table(layer_frame(fits), inactive, *names),
        tables.comparison_table(attention_against_convolution(cells, *names), inactive),
    ]
    methods = method_against_method(cells, *names)
    return shown if methods.empty else [*shown, tables.method_table(methods)]


def _judgements(grid: Grid, inactive: pd.DataFrame, config: ReportSettings) -> list[Judgement]:
    cells = next(iter(grid.values()))
    samples = {cell: measured.samples["auroc"] for cell, measured in cells.items()}
    off = inactive[inactive["inactive"]]
    idle = set(zip(off["network"], off["chain"], strict=True))
    return [
        judge(claim, samples, networks=config.networks, inactive=idle, level=LEVEL, seed=config.seed)
        for claim in CLAIMS
    ]


def _headline(verdicts: Sequence[Judgement], config: ReportSettings, seeds: int) -> tuple[str, ...]:
    found = {one.claim.key: one for one in verdicts}
    attention, transfer = found["attention_is_better"], found["transfer_helps"]
    what, pairs = "Attention − convolution after the whole chain", len(attention_pairs(config.networks))
    if pairs > 1:
        what = f"{what}, mean over {pairs} pairs of networks"
    return (
        _sentence(what, attention, "attention", "convolution", seeds),
        _sentence("Whole chain − no transfer, mean over networks", transfer, "the chain", "no transfer", seeds),
    )


def _sentence(what: str, one: Judgement, first: str, second: str, seeds: int) -> str:
    """Say what was found, what its interval draws, and which true difference would be found in 80 of 100 such studies.

    The detectable difference belongs to the same estimate: (z of 97.5 % + z of 80 %) × its standard error, which is
    half the interval's length ÷ z of 97.5 %.
    """
    if one.estimate is None or one.low is None or one.high is None:
        return f"{what}: not decidable ({one.reason})."
    if one.verdict == "not decidable":
        end = one.reason if "inactive" in one.reason else "no difference shown"
    else:
        end = f"{first if one.verdict == 'holds' else second} is better"
    drawn = "patients, one seed" if seeds == 1 else f"patients and {seeds} seeds"
    quantile = NormalDist().inv_cdf
    detectable = (one.high - one.low) / 2 * (1 + quantile(0.8) / quantile((1 + LEVEL) / 2))
    interval = f"{LEVEL:.0%} interval {signed(one.low)} … {signed(one.high)} (over {drawn})".replace("%", " %")
    power = f"a true difference of {number(detectable, digits=2)} could be detected"
    return f"{what}: {signed(one.estimate)} AUROC, {interval}: {end}; {power}."


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
    limits = [
        f"The test set has {cell.images} images of {cell.patients} patients; fine-tuning was run with {seeds} "
        f"{'seed' if seeds == 1 else 'seeds'} from {config.pretraining_runs} pretraining "
        f"{'run' if config.pretraining_runs == 1 else 'runs'} of each chain; chance in pretraining is in no interval."
        + (" With one seed, chance in training is not part of any interval." if seeds == 1 else ""),
        f"Thresholds of accuracy and F1 are chosen by {rule}; the paper does not say how it chose its own.",
        "The paper’s numbers come from its own data, sizes and training budget; they are no target for this profile.",
        "Intervals are per comparison; only DeLong’s p-values are adjusted for their number.",
    ]
    return (*limits, *uncommitted(fits))
