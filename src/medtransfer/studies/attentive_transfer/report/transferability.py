"""Scores of source models beside the gain that fine-tuning brought: Table 6, both routes, rank correlations, Fig. 3."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.reporting.content import Column, Figure, Table, Text
from medtransfer.reporting.drawing import QUIET, legend, svg
from medtransfer.reporting.formatting import (
    MISSING,
    NOT_PRINTED,
    REFERENCE,
    estimate,
    is_missing,
    number,
    probability,
    signed,
)
from medtransfer.studies.attentive_transfer.paper.values import NO_TRANSFER, Cell, attention_layers, network_title
from medtransfer.studies.attentive_transfer.report.figures import _look
from medtransfer.studies.attentive_transfer.report.names import chain_title, step_title
from medtransfer.studies.attentive_transfer.report.results import Grid, ReportSettings, paired
from medtransfer.studies.attentive_transfer.report.transitions import KEY, PRINTED_CHAINS, SCORES, printed_leep

_MARKERS = {False: "sPX", True: "oD^"}
"""Markers of plain networks and of networks with ATTN, by their place among the networks of one backbone."""


def leep_table(scores: pd.DataFrame, grid: Grid, settings: ReportSettings) -> Table:
    """Lay out Table 6 for every chain, with NCE and LogME and the gain in AUROC that fine-tuning brought beside it."""
    own, cells = next(iter(grid.items()))
    chains = dict.fromkeys((*PRINTED_CHAINS.values(), *settings.chains))
    wanted = [(network, chain) for network in settings.networks for chain in chains]
    sources = dict(tuple(scores.drop_duplicates([*KEY, "source_seed"]).groupby(KEY)))
    theirs = printed_leep().set_index(KEY)["paper"]
    gains = paired(cells, [(cell, (cell[0], NO_TRANSFER)) for cell in wanted], settings)
    gains = gains.query("metric == 'auroc'").set_index(KEY)
    rows = []
    for cell in wanted:
        values = [_score(sources.get(cell), name) for name in SCORES]
        gain = REFERENCE if cell[1] == NO_TRANSFER else _gain(gains, cell)
        paper = Text(number(theirs[cell])) if cell in theirs.index else NOT_PRINTED
        rows.append((Text(network_title(cell[0])), Text(chain_title(cell[1])), paper, *values, gain))
    lowest = number(scores["minus_label_entropy"].min() / np.log(2), digits=_DIGITS)
    return Table(
        "table6",
        "Table 6 · LEEP of the source models, and what fine-tuning gained",
        f"Source models on the target’s training images, before fine-tuning; mean ± sd over pretraining seeds, higher "
        f"is better. No LEEP on these images is below {lowest} bits, that of a constant source. Gain: AUROC on the "
        f"test images of {own} against no transfer.",
        (
            *(Column(name, number=False) for name in ("Network", "Chain")),
            Column("paper", SCORES["leep_bits"]),
            Column("ours", SCORES["leep_bits"]),
            *(Column(SCORES[name], "beside it, ours") for name in ("nce", "logme")),
            Column("our gain", "fine-tuning"),
        ),
        tuple(rows),
        (_HEADS, *_counted(scores)),
    )


def routes_table(frame: pd.DataFrame, gains: Mapping[str, pd.DataFrame]) -> Table:
    """Lay out a frame of :func:`hand_overs`: difference after fine-tuning beside difference of the scores.

    ``gains`` are those of :func:`step_gains`: one more column for each data set behind the first.
    """
    outside = {name: found.set_index(KEY) for name, found in list(gains.items())[1:]}
    rows = [
        (
            Text(network_title(row["network"])),
            Text(f"{chain_title(row['before'])}, then {step_title(row['chain'].rpartition('-')[2])}"),
            _printed_change(row["paper_auroc"]),
            MISSING if is_missing(row["mean"]) else estimate(row, difference=True),
            _printed_change(row["paper_leep"]),
            *(_available(signed(row[name], digits=_DIGITS), _NO_HEAD) for name in SCORES),
            *(_gain(found, (row["network"], row["chain"])) for found in outside.values()),
        )
        for row in frame.to_dict("records")
    ]
    return Table(
        "routes",
        "What each step of a chain changed, by both of the paper’s routes",
        "First route: test AUROC after fine-tuning, with and without the step. Second: scores of the sources with and "
        "without the step, before fine-tuning. Ours are means over seeds; below AUROC stands its 95 % interval. "
        "Outside sets were seen by no stage.",
        (
            Column("Network", number=False),
            Column("Step", number=False),
            Column("paper", "Δ AUROC, fine-tuned"),
            Column("ours", "Δ AUROC, fine-tuned"),
            Column("paper", "Δ LEEP, bits"),
            Column("ours", "Δ LEEP, bits"),
            Column("ours", "Δ NCE, nats"),
            Column("ours", "Δ LogME, nats"),
            *(Column(name, "Δ AUROC, outside sets") for name in outside),
        ),
        tuple(rows),
        (_NO_HEAD,),
    )


def correlation_table(frame: pd.DataFrame) -> Table:
    """Lay out a frame of :func:`correlations`."""
    titles = {"kendall": "Kendall’s τ-b", "spearman": "Spearman’s ρ"}
    rows = []
    for name, part in frame.groupby("score", sort=False):
        of = part.set_index("kind")
        values = [(signed(of.loc[k, "value"]), probability(of.loc[k, "p"])) for k in titles]
        rows.append(
            (
                Text(SCORES[name]),
                Text(str(of["pairs"].iloc[0])),
                *(_available(text, _NO_RANKS) for pair in values for text in pair),
            )
        )
    return Table(
        "score-correlation",
        "Do the scores rank the sources as fine-tuning does?",
        "Rank correlation of the score before fine-tuning with the gain in test AUROC against no transfer, over all "
        "source models (network, chain, pretraining seed; the gain is the mean of the fits that start from one); "
        "+1: the same order. p by permutation.",
        (
            Column("Score", number=False),
            Column("pairs"),
            *(Column(part, title) for title in titles.values() for part in ("value", "p")),
        ),
        tuple(rows),
        ("Pairs share networks and test images, so p is too small; below four pairs there is none.",),
    )


def leep_figure(scores: pd.DataFrame, settings: ReportSettings) -> Figure:
    """Draw Fig. 3: LEEP in bits over the hand-overs, a line a network and a panel a backbone; the paper's dashed."""
    chains = list(PRINTED_CHAINS.values())
    ours = scores.drop_duplicates([*KEY, "source_seed"]).groupby(KEY)["leep_bits"].mean()
    theirs = printed_leep().set_index(KEY)["paper"]
    backbones: dict[str, list[str]] = {}
    for network in settings.networks:
        backbones.setdefault(network.rpartition("_attn")[0], []).append(network)

    def draw(figure: Any) -> None:
        axes = figure.subplots(1, len(backbones), sharey=True, squeeze=False)[0]
        for axis, (backbone, networks) in zip(axes, backbones.items(), strict=True):
            for network in networks:
                attends = bool(attention_layers(network))
                kind = [other for other in networks if bool(attention_layers(other)) == attends]
                marker = _MARKERS[attends][kind.index(network) % len(_MARKERS[attends])]
                look = _look(network) | {"marker": marker, "linewidth": 1.6}
                axis.plot(
                    [ours.get((network, chain), np.nan) for chain in chains], **look, label=network_title(network)
                )
                paper = [theirs.get((network, chain), np.nan) for chain in chains]
                axis.plot(paper, **look | {"linestyle": "--", "linewidth": 0.9, "markerfacecolor": "none"})
            if any(network in theirs.index for network in networks):
                axis.plot([], color=QUIET, linestyle="--", label="the paper’s")
            axis.set_xticks(range(len(chains)), [chain_title(chain) for chain in chains])
            axis.set_title(backbone)
        axes[0].set_ylabel("LEEP, bits")
        legend(figure, axes)

    caption = (
        "LEEP of the source models on the target’s training images, mean over pretraining seeds; higher is better."
    )
    return Figure("leep", "Fig. 3 · LEEP over the hand-overs", caption, svg(draw, "leep", height=3.4))


_NO_HEAD = "n/a: no label head that LEEP and NCE could read before or after the step."
_HEADS = (
    "Without transfer the head is an untrained 1000-way one, each other source has its own. ATTN layers start as the "
    "identity, so that untrained networks of one backbone score alike with and without them."
)
_NO_RANKS = "not available: fewer than four pairs, or no spread"
_DIGITS = 4
"""Of the scores: LEEP on two classes moves in the third digit."""


def _available(text: str, why: str) -> Text:
    return Text("n/a", hover=why) if text == MISSING.main else Text(text)


def _printed_change(value: float) -> Text:
    return NOT_PRINTED if is_missing(value) else Text(signed(value))


def _score(rows: pd.DataFrame | None, name: str) -> Text:
    """Return mean ± sd over the sources of one cell, ``n/a`` with the reason, or a dash where nothing was scored."""
    if rows is None:
        return MISSING
    if rows[name].isna().any():
        chain, reason = next((row.chain, row.unavailable) for row in rows.itertuples() if row.unavailable)
        return Text("n/a", hover=reason.replace(chain, chain_title(chain)))
    spread = f" ± {number(rows[name].std(), digits=_DIGITS)}" if len(rows) > 1 else ""
    return Text(number(rows[name].mean(), digits=_DIGITS) + spread)


def _gain(gains: pd.DataFrame, cell: Cell) -> Text:
    return estimate(gains.loc[cell], difference=True) if cell in gains.index else MISSING


def _counted(scores: pd.DataFrame) -> list[str]:
    """Return a note on source labels without probability and on target classes without images, where there are any."""
    sources = scores.drop_duplicates([*KEY, "source_seed"])
    notes = [
        f"{network_title(row.network)}, {chain_title(row.chain)}, pretraining seed {row.source_seed}: "
        f"{row.dropped_source_labels} of {row.source_labels} source labels got no probability and were left out."
        for row in sources[sources["dropped_source_labels"] > 0].itertuples()
    ]
    absent = int(scores["absent_target_labels"].max())
    return notes + ([f"{absent} target classes have no training image; LEEP leaves them out."] if absent else [])
