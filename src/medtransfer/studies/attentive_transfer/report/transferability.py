"""Scores of source models and the gain from fine-tuning: Table 6, both routes, rank correlations, Fig. 3."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.evaluation.cells import Row
from medtransfer.reporting.content import Column, Figure, Table, TableCell
from medtransfer.reporting.drawing import QUIET, legend, svg
from medtransfer.reporting.formatting import (
    MISSING,
    NOT_PRINTED,
    REFERENCE,
    estimate,
    is_missing,
    labels,
    number,
    probability,
    signed,
    spread,
)
from medtransfer.studies.attentive_transfer.paper.values import NO_TRANSFER
from medtransfer.studies.attentive_transfer.report.figures import colours, kind, look
from medtransfer.studies.attentive_transfer.report.results import Results
from medtransfer.studies.attentive_transfer.report.transitions import KEY, PRINTED_CHAINS, SCORES, printed_leep
from medtransfer.studies.attentive_transfer.titles import backbone, chain_title, network_title, step_title

_MARKERS = {"convolution only": "sPX", "with ATTN": "oD^", "control": "v<>"}
"""Markers of each kind of network, by index among the networks of one backbone."""


def leep_table(scores: pd.DataFrame, results: Results) -> Table:
    """Return Table 6 for every chain, with NCE, LogME and the gain in AUROC from fine-tuning."""
    keys = [
        (network, chain)
        for network in results.config.networks
        for chain in dict.fromkeys((*PRINTED_CHAINS.values(), *results.config.chains_of(network)))
    ]
    sources = dict(tuple(scores.drop_duplicates([*KEY, "source_seed"]).groupby(KEY)))
    printed, gains = printed_leep(), results.gains([(key, (key[0], NO_TRANSFER)) for key in keys])
    rows = []
    for key in keys:
        values = [_score(sources.get(key), name) for name in SCORES]
        gain = REFERENCE if key[1] == NO_TRANSFER else estimate(gains.get((*key, "auroc")), difference=True)
        paper = TableCell(number(printed[key])) if key in printed else NOT_PRINTED
        rows.append((TableCell(network_title(key[0])), TableCell(chain_title(key[1])), paper, *values, gain))
    lowest = number(scores["minus_label_entropy"].min() / np.log(2), digits=_DIGITS)
    return Table(
        "table6",
        "Table 6 · LEEP of the source models, and the gain from fine-tuning",
        f"Source models on the target’s training images, before fine-tuning; mean ± sd over pretraining seeds, higher "
        f"is better. The lower bound of LEEP on these images is {lowest} bits, that of a constant source. Gain: AUROC "
        f"on the test images of {results.own} compared with no transfer.",
        (
            *labels("Network", "Chain"),
            Column("paper", SCORES["leep_bits"]),
            Column("ours", SCORES["leep_bits"]),
            *(Column(SCORES[name], "other scores, ours") for name in ("nce", "logme")),
            Column("our gain", "fine-tuning"),
        ),
        tuple(rows),
        (_HEADS, *_counted(scores)),
    )


def routes_table(steps: Sequence[Row]) -> Table:
    """Return rows of :func:`transitions`: difference after fine-tuning and difference of the scores."""
    rows = []
    for row in steps:
        own, *outside = (estimate(gain, difference=True) for gain in row["gains"].values())
        step = f"{chain_title(row['before'])}, then {step_title(row['chain'].rpartition('-')[2])}"
        changes = (_available(signed(row[name], digits=_DIGITS), _NO_HEAD) for name in SCORES)
        auroc, leep = (_printed_change(row[f"paper_{name}"]) for name in ("auroc", "leep"))
        names = (TableCell(network_title(row["network"])), TableCell(step))
        rows.append((*names, auroc, own, leep, *changes, *outside))
    outside_sets = list(steps[0]["gains"])[1:] if steps else []
    return Table(
        "routes",
        "The effect of each step of a chain, by both of the paper’s routes",
        "First route: test AUROC after fine-tuning, with minus without the step. Second route: scores of the sources "
        "before fine-tuning, with minus without the step. Ours are means over seeds; below AUROC is its 95 % interval. "
        "Outside sets are used for testing only.",
        (
            *labels("Network", "Step"),
            Column("paper", "Δ AUROC, fine-tuned"),
            Column("ours", "Δ AUROC, fine-tuned"),
            Column("paper", "Δ LEEP, bits"),
            *(Column("ours", f"Δ {title}") for title in SCORES.values()),
            *(Column(name, "Δ AUROC, outside sets") for name in outside_sets),
        ),
        tuple(rows),
        (_NO_HEAD,),
    )


def correlation_table(frame: pd.DataFrame) -> Table:
    """Return a frame of :func:`correlations` as a table."""
    titles = {"kendall": "Kendall’s τ-b", "spearman": "Spearman’s ρ"}
    rows = []
    for name, part in frame.groupby("score", sort=False):
        of = part.set_index("kind")
        values = [(signed(of.loc[k, "value"]), probability(of.loc[k, "p"])) for k in titles]
        rows.append(
            (
                TableCell(SCORES[name]),
                TableCell(str(of["pairs"].iloc[0])),
                *(_available(text, _NO_RANKS) for pair in values for text in pair),
            )
        )
    return Table(
        "score-correlation",
        "Do the scores rank the sources like fine-tuning?",
        "Rank correlation of the score before fine-tuning with the gain in test AUROC over no transfer, over all "
        "source models (network, chain, pretraining seed; the gain is the mean over the fits that start from the "
        "source); +1 means the same order. p by permutation.",
        (
            *labels("Score"),
            Column("pairs"),
            *(Column(part, title) for title in titles.values() for part in ("value", "p")),
        ),
        tuple(rows),
        ("Pairs share networks and test images, so p is too small; fewer than four pairs have none.",),
    )


def leep_figure(scores: pd.DataFrame, networks: Sequence[str]) -> Figure:
    """Draw Fig. 3: LEEP in bits over the transitions, one panel per backbone and one line per network."""
    chains = list(PRINTED_CHAINS.values())
    ours = scores.drop_duplicates([*KEY, "source_seed"]).groupby(KEY)["leep_bits"].mean().to_dict()
    printed = printed_leep()
    backbones: dict[str, list[str]] = {}
    for network in networks:
        backbones.setdefault(backbone(network), []).append(network)

    def draw(figure: Any) -> None:
        axes = figure.subplots(1, len(backbones), sharey=True, squeeze=False)[0]
        for axis, (name, members) in zip(axes, backbones.items(), strict=True):
            for network in members:
                alike = [other for other in members if kind(other) == kind(network)]
                marker = _MARKERS[kind(network)][alike.index(network) % 3]
                style = look(network) | {"marker": marker, "markersize": 5, "linewidth": 1.6}
                values = [ours.get((network, chain), np.nan) for chain in chains]
                axis.plot(values, **style, label=network_title(network))
                paper = [printed.get((network, chain), np.nan) for chain in chains]
                axis.plot(paper, **style | {"linestyle": "--", "linewidth": 0.9, "markerfacecolor": "none"})
            if any(network in members for network, _ in printed):
                axis.plot([], color=QUIET, linestyle="--", label="paper")
            axis.set_xticks(range(len(chains)), [chain_title(chain) for chain in chains])
            axis.set_title(name)
        axes[0].set_ylabel("LEEP, bits")
        legend(figure, axes)

    caption = (
        "LEEP of the source models on the target’s training images, mean over pretraining seeds; higher is better. "
        f"{colours(networks)}"
    )
    return Figure("leep", "Fig. 3 · LEEP over the transitions", caption, svg(draw, "leep", height=3.4))


_NO_HEAD = "n/a: the source before or after the step has no label head, which LEEP and NCE need."
_HEADS = (
    "Without transfer, the head is an untrained 1000-way head; every other source has its own head. ATTN layers start "
    "as the identity, so untrained networks of one backbone have the same scores with and without them."
)
_NO_RANKS = "not available: fewer than four pairs, or no spread"
_DIGITS = 4
"""Digits of the scores: LEEP on two classes differs in the third digit."""


def _available(text: str, why: str) -> TableCell:
    return TableCell("n/a", hover=why) if text == MISSING.main else TableCell(text)


def _printed_change(value: float) -> TableCell:
    return NOT_PRINTED if is_missing(value) else TableCell(signed(value))


def _score(rows: pd.DataFrame | None, name: str) -> TableCell:
    """Return mean ± sd over the sources of a network and chain, ``n/a`` with the reason, or a dash."""
    if rows is None:
        return MISSING
    if rows[name].isna().any():
        chain, reason = next((row.chain, row.unavailable) for row in rows.itertuples() if row.unavailable)
        return TableCell("n/a", hover=reason.replace(chain, chain_title(chain)))
    return TableCell(spread(rows[name].mean(), rows[name].std(), digits=_DIGITS))


def _counted(scores: pd.DataFrame) -> list[str]:
    """Return notes on source labels without probability and on target classes without images, if there are any."""
    sources = scores.drop_duplicates([*KEY, "source_seed"])
    notes = [
        f"{network_title(row.network)}, {chain_title(row.chain)}, pretraining seed {row.source_seed}: "
        f"{row.dropped_source_labels} of {row.source_labels} source labels got no probability and were left out."
        for row in sources[sources["dropped_source_labels"] > 0].itertuples()
    ]
    absent = int(scores["absent_target_labels"].max())
    return notes + ([f"{absent} target classes have no training image; LEEP leaves them out."] if absent else [])
