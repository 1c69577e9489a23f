"""Assemble the report of the attentive-transfer study; no file is written here."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medtransfer.files import read_json
from medtransfer.reporting.content import Figure, ReportContent, Table
from medtransfer.reporting.formatting import image_count
from medtransfer.reporting.input import ReportInput
from medtransfer.reporting.origin import champions_of, provenance_table, uncommitted
from medtransfer.reporting.records import Fit, curves, provenance, recorded_fits
from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig
from medtransfer.studies.attentive_transfer.paper.values import TABLES, WHOLE_CHAIN
from medtransfer.studies.attentive_transfer.report.attention import attention_table, layer_frame
from medtransfer.studies.attentive_transfer.report.budgets import shared_budget
from medtransfer.studies.attentive_transfer.report.explanations import explanation_figures, explanation_tables
from medtransfer.studies.attentive_transfer.report.figures import curves_figure, forest_figure, learning_curves
from medtransfer.studies.attentive_transfer.report.misprints import misprints_table
from medtransfer.studies.attentive_transfer.report.results import Results
from medtransfer.studies.attentive_transfer.report.results import results as measure_results
from medtransfer.studies.attentive_transfer.report.sources import source_table
from medtransfer.studies.attentive_transfer.report.tables import (
    after_warm_up,
    attention_against_convolution,
    grid_table,
    method_against_method,
    paper_table,
)
from medtransfer.studies.attentive_transfer.report.transferability import (
    correlation_table,
    leep_figure,
    leep_table,
    routes_table,
)
from medtransfer.studies.attentive_transfer.report.transitions import correlations, read_scores, transitions
from medtransfer.studies.attentive_transfer.report.verdicts import claims_table, headline, judgements
from medtransfer.studies.attentive_transfer.titles import chain_title, network_title

ABOUT = (
    "ResNets with self-attention (ATTN) against plain ones, pretrained on natural images (STL-N), then on chest X-rays "
    "(STL-M), then self-supervised on CT (SSTL-M), and fine-tuned to detect COVID-19 on CT slices: a reproduction of "
    "the study of Liu & Ji 2021. Tables show the paper’s values next to ours."
)
GLOSSARY = {
    "ATTN": "self-attention layer of Eq. 1, inserted at the end of residual stages",
    "STL-N": "supervised pretraining on natural images",
    "STL-M": "supervised pretraining on medical images (chest X-rays)",
    "SSTL-M": "self-supervised pretraining on the training CT slices, without labels, by the paper’s method",
    "MoCo": "momentum contrast of whole images (He et al. 2020)",
    "SimCLR": "contrast within a batch (Chen et al. 2020)",
    "LEEP": "how well a source model's own label probabilities predict the target labels (Nguyen et al. 2020)",
    "NCE": "the same, from its most likely label only: negative conditional entropy (Tran et al. 2019)",
    "LogME": "how well a source model’s features predict the target labels: log maximum evidence (You et al. 2021)",
    "nats": "unit of entropy from natural logarithms; 1 nat = 1.443 bits",
    "Kendall’s τ-b": "share of pairs in the same order minus share in the opposite order, corrected for ties",
    "Spearman’s ρ": "correlation of ranks",
    "Grad-CAM": "where the last feature map increases the output (Selvaraju et al. 2017)",
    "ru": "right upper lobe, of the patient",
    "rm": "right middle lobe, of the patient",
    "rl": "right lower lobe, of the patient",
    "lu": "left upper lobe, of the patient",
    "ll": "left lower lobe, of the patient",
    "warm-up": "training of the inserted layers and a new head alone, on natural images, with the trunk frozen",
    "control": "network with 1 × 1 convolutions of as many parameters in the place of its ATTN layers",
    "attention inactive": "switching the inserted layers off changes no predicted probability by 0.01 or more",
}


def collect(data: ReportInput[AttentiveTransferConfig]) -> ReportContent:
    """Compute the content of the report.

    The side files are transferability.csv and ``explanations/``.

    Raises:
        DataError: the predictions table or a record is not valid.
    """
    config, results = data.config, measure_results(data.predictions, data.config, data.evaluation)
    scores, explanations = read_scores(data.results / "transferability.csv"), data.results / "explanations"
    facts, judged = read_json(explanations / "explanations.json"), judgements(results)
    recorded = recorded_fits(data.folder, config.networks)
    fits = provenance(recorded)
    return ReportContent(
        title="Attentive transfer: does attention transfer better than convolution?",
        about=ABOUT,
        **data.parts(),
        headline=headline(judged, results),
        champions=champions_of(
            data.champions,
            fits,
            lambda network, chain: {"Network": network_title(network), "Chain": chain_title(chain)},
        ),
        results=(
            grid_table(results),
            source_table(data.predictions, config.networks, data.evaluation),
            *(table for table in (paper_table(each, results) for each in TABLES) if table.rows),
            *_attention(recorded, results),
            leep_table(scores, results),
            routes_table(transitions(scores, results)),
            correlation_table(correlations(scores, results.cells)),
            *explanation_tables(facts),
            claims_table(judged, results),
            misprints_table(),
        ),
        figures=(
            *_figures(results, recorded),
            leep_figure(scores, config.networks),
            *explanation_figures(explanations, facts, recorded),
        ),
        provenance=(provenance_table(fits),),
        limits=_limits(results, fits),
        glossary=GLOSSARY,
    )


def _attention(fits: Sequence[Fit], results: Results) -> list[Table]:
    """Return the table on whether attention is active, and the paired comparisons of networks and of methods."""
    tables = [
        attention_table(layer_frame(fits), results.change, results.wanted),
        attention_against_convolution(results),
        after_warm_up(results),
        method_against_method(results, shared_budget(results.config)),
    ]
    return [table for table in tables if table]


def _figures(results: Results, fits: Sequence[Fit]) -> list[Figure]:
    figures, networks = [forest_figure(results)], results.config.networks
    target = next(iter(results.cells.values())).target
    if any(chain == WHOLE_CHAIN for _, chain in results.cells) and len(np.unique(target)) == 2:
        figures.append(curves_figure(results, WHOLE_CHAIN))
    metrics = {"loss": ["train/loss"], "auroc": [f"val/auroc_{results.config.positive}", "val/macro_auroc"]}
    history = curves(fits, metrics)
    tuned = history["phase"] == "finetune"
    for rows, phase, how in (
        (history[tuned], "fine-tuning", "the title of a panel is the chain that the fit started from"),
        (history[~tuned], "pretraining", "the title of a panel is the chain that the fit completes"),
    ):
        if len(rows):
            caption = f"One line per network and seed; {how}."
            figures.append(learning_curves(rows, f"learning-{phase}", f"Learning curves of {phase}", caption, networks))
    return figures


def _limits(results: Results, fits: pd.DataFrame) -> tuple[str, ...]:
    cell, rule = next(iter(results.cells.values())), results.evaluation.threshold
    seeds, runs = len(cell.seeds), len(results.config.pretrain_seeds)
    chosen = "0.5" if rule == "half" else f"the rule “{rule}” on validation images of the same fit"
    limits = [
        f"The test set has {image_count(cell)}; fine-tuning was run with "
        f"{seeds} {'seed' if seeds == 1 else 'seeds'} from {runs} pretraining {'run' if runs == 1 else 'runs'} of each "
        "chain.",
        *_chance(seeds, runs),
        f"Thresholds for accuracy and F1: {chosen}; the paper does not state how it chose its thresholds.",
        "The paper’s numbers come from its own data, sizes and training budget: they are no target for this profile.",
        "Intervals are per comparison; only DeLong’s p-values are adjusted for their number.",
    ]
    return (*limits, *uncommitted(fits))


def _chance(seeds: int, pretraining_runs: int) -> list[str]:
    """State which random variation the intervals do not include."""
    limits = []
    if seeds == 1:
        limits.append(
            "With one seed, no interval includes the random variation of training; no verdict on networks is possible."
        )
    if pretraining_runs == 1:
        limits.append("Each chain was pretrained once per network: no interval includes the variation of pretraining.")
    return limits
