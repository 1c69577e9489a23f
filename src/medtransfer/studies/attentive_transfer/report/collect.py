"""Put the report of the attentive-transfer study together; no file is written here."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medtransfer.files import read_json
from medtransfer.reporting.content import Figure, ReportContent, Table
from medtransfer.reporting.input import ReportInput
from medtransfer.reporting.origin import champions_of, provenance_table, uncommitted
from medtransfer.reporting.records import Fit, curves, provenance, recorded_fits
from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig
from medtransfer.studies.attentive_transfer.paper.values import TABLES, WHOLE_CHAIN, chain_title, network_title
from medtransfer.studies.attentive_transfer.report.attention import attention_table, layer_frame
from medtransfer.studies.attentive_transfer.report.budgets import shared_budget
from medtransfer.studies.attentive_transfer.report.explanations import explanation_figures, explanation_tables
from medtransfer.studies.attentive_transfer.report.figures import curves_figure, forest_figure, learning_curves
from medtransfer.studies.attentive_transfer.report.misprints import misprints_table
from medtransfer.studies.attentive_transfer.report.results import Results, results
from medtransfer.studies.attentive_transfer.report.sources import source_table
from medtransfer.studies.attentive_transfer.report.tables import (
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

ABOUT = (
    "ResNets with self-attention (ATTN) against plain ones, pretrained on natural images (STL-N), then chest X-rays "
    "(STL-M), then self-supervised on CT (SSTL-M), and fine-tuned to tell COVID-19 on CT slices: the study of "
    "Liu & Ji 2021, rebuilt. Paper values are beside ours."
)
FEW_SEEDS = 4
"""Up to this number, the report says that an interval over seeds is too narrow."""
GLOSSARY = {
    "ATTN": "self-attention layer of Eq. 1, inserted at the end of residual stages",
    "STL-N": "supervised pretraining on natural images",
    "STL-M": "supervised pretraining on medical images (chest X-rays)",
    "SSTL-M": "self-supervised pretraining on the training CT slices, without labels, by the paper’s method",
    "MoCo": "momentum contrast of whole images (He et al. 2020)",
    "SimCLR": "contrast within a batch (Chen et al. 2020)",
    "LEEP": "how well a source model's own label probabilities predict the target labels (Nguyen et al. 2020)",
    "NCE": "the same of its likeliest label alone: negative conditional entropy (Tran et al. 2019)",
    "LogME": "how well its features predict the target labels: logarithm of maximum evidence (You et al. 2021)",
    "nats": "unit of entropy from natural logarithms; 1 nat = 1.443 bits",
    "Kendall’s τ-b": "share of pairs in the same order minus share in the opposite order, ties allowed for",
    "Spearman’s ρ": "correlation of ranks",
    "Grad-CAM": "where the last map pushes the output up (Selvaraju et al. 2017)",
    "ru": "right upper lobe, of the patient",
    "rm": "right middle lobe, of the patient",
    "rl": "right lower lobe, of the patient",
    "lu": "left upper lobe, of the patient",
    "ll": "left lower lobe, of the patient",
    "attention inactive": "switching the ATTN layers off changes no predicted probability by 0.01",
}


def collect(data: ReportInput[AttentiveTransferConfig]) -> ReportContent:
    """Compute everything that the report says.

    The side files are transferability.csv and ``explanations/``.

    Raises:
        DataError: the predictions table or a record is not what it promises.
    """
    config, found = data.config, results(data.predictions, data.config, data.evaluation)
    scores, looks = read_scores(data.results / "transferability.csv"), data.results / "explanations"
    facts, judged = read_json(looks / "explanations.json"), judgements(found)
    recorded = recorded_fits(data.folder, config.networks)
    fits = provenance(recorded)
    return ReportContent(
        title="Attentive transfer: does attention transfer better than convolution?",
        about=ABOUT,
        **data.parts(),
        headline=headline(judged, found),
        champions=champions_of(
            data.champions,
            fits,
            lambda network, chain: {"Network": network_title(network), "Chain": chain_title(chain)},
        ),
        results=(
            grid_table(found),
            source_table(data.predictions, config.networks, data.evaluation),
            *(paper_table(table, found) for table in TABLES),
            *_attention(recorded, found),
            leep_table(scores, found),
            routes_table(transitions(scores, found)),
            correlation_table(correlations(scores, found.cells)),
            *explanation_tables(facts),
            claims_table(judged, found),
            misprints_table(),
        ),
        figures=(
            *_figures(found, recorded),
            leep_figure(scores, config.networks),
            *explanation_figures(looks, facts, recorded),
        ),
        provenance=(provenance_table(fits),),
        limits=_limits(found, fits),
        glossary=GLOSSARY,
    )


def _attention(fits: Sequence[Fit], found: Results) -> list[Table]:
    """Return whether attention is at work, and the paired comparisons of networks and of methods."""
    shown = [
        attention_table(layer_frame(fits), found.change, found.wanted),
        attention_against_convolution(found),
        method_against_method(found, shared_budget(found.config)),
    ]
    return [table for table in shown if table]


def _figures(found: Results, fits: Sequence[Fit]) -> list[Figure]:
    drawn, networks = [forest_figure(found)], found.config.networks
    target = next(iter(found.cells.values())).target
    if any(chain == WHOLE_CHAIN for _, chain in found.cells) and len(np.unique(target)) == 2:
        drawn.append(curves_figure(found, WHOLE_CHAIN))
    metrics = {"loss": ["train/loss"], "auroc": [f"val/auroc_{found.config.positive}", "val/macro_auroc"]}
    history = curves(fits, metrics)
    tuned = history["phase"] == "finetune"
    for rows, phase, how in (
        (history[tuned], "fine-tuning", "a panel is titled with the chain that the fit started from"),
        (history[~tuned], "pretraining", "the chain a panel is titled with is the one that the fit completes"),
    ):
        if len(rows):
            caption = f"One line per network and seed; {how}."
            drawn.append(learning_curves(rows, f"learning-{phase}", f"Learning curves of {phase}", caption, networks))
    return drawn


def _limits(found: Results, fits: pd.DataFrame) -> tuple[str, ...]:
    cell, rule = next(iter(found.cells.values())), found.evaluation.threshold
    seeds, runs = len(cell.seeds), len(found.config.pretrain_seeds)
    chosen = "0.5" if rule == "half" else f"the rule “{rule}” on validation images of the same fit"
    limits = [
        f"The test set has {len(cell.images)} images of {len(set(cell.patients))} patients; fine-tuning was run with "
        f"{seeds} {'seed' if seeds == 1 else 'seeds'} from {runs} pretraining {'run' if runs == 1 else 'runs'} of each "
        "chain.",
        *_chance(seeds, runs),
        f"Thresholds of accuracy and F1 are chosen by {chosen}; the paper does not say how it chose its own.",
        "The paper’s numbers come from its own data, sizes and training budget; they are no target for this profile.",
        "Intervals are per comparison; only DeLong’s p-values are adjusted for their number.",
    ]
    return (*limits, *uncommitted(fits))


def _chance(seeds: int, pretraining_runs: int) -> list[str]:
    """Say which chance is not in the intervals.

    Drawing n seeds again shows on average (n − 1) ÷ n of the variance between seeds.
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
