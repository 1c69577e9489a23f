"""The verdict on each claim of the paper in words: the answer on top of the page, and the table of claims."""

from collections.abc import Mapping, Sequence
from statistics import NormalDist

import pandas as pd

from medtransfer.evaluation.summary import LEVEL
from medtransfer.reporting.content import Column, Table, Text
from medtransfer.reporting.formatting import (
    MISSING,
    NOT_PRINTED,
    interval,
    number,
    signed,
)
from medtransfer.studies.attentive_transfer.claims import CLAIMS, Judgement, attention_pairs, judge
from medtransfer.studies.attentive_transfer.paper.values import WHOLE_CHAIN, network_title
from medtransfer.studies.attentive_transfer.report.names import chain_title
from medtransfer.studies.attentive_transfer.report.results import Grid, ReportSettings


def judgements(grid: Grid, inactive: pd.DataFrame, settings: ReportSettings) -> dict[str, list[Judgement]]:
    """Return the judgement of every claim by data set, the own test set first.

    ``inactive`` is a frame of ``cells.attention_change``.
    """
    off = inactive[inactive["inactive"]]
    idle = set(zip(off["network"], off["chain"], strict=True))
    samples = {
        name: {cell: measured.samples["auroc"] for cell, measured in cells.items()} for name, cells in grid.items()
    }
    return {
        name: [
            judge(claim, found, networks=settings.networks, inactive=idle, level=LEVEL, seed=settings.seed)
            for claim in CLAIMS
        ]
        for name, found in samples.items()
    }


def headline(
    judged: Sequence[Judgement], change: pd.DataFrame, settings: ReportSettings, seeds: int
) -> tuple[str, ...]:
    """Return the study's answer in sentences, from the judgements on the own test set.

    ``change`` is a frame of ``cells.attention_change``.
    """
    found = {one.claim.key: one for one in judged}
    attention, transfer = found["attention_is_better"], found["transfer_helps"]
    what, pairs = "Attention − convolution after the whole chain", len(attention_pairs(settings.networks))
    if pairs > 1:
        what = f"{what}, mean over {pairs} pairs of networks"
    return (
        _sentence(what, attention, "attention", "convolution", seeds),
        *(_own_work(change) if attention.estimate is not None else ()),
        _sentence("Whole chain − no transfer, mean over networks", transfer, "the chain", "no transfer", seeds),
    )


def _own_work(change: pd.DataFrame) -> tuple[str, ...]:
    """Say how much of a difference the ATTN layers make themselves; the rest came about in training."""
    added = change.loc[change["chain"] == WHOLE_CHAIN, "auroc"].dropna()
    if added.empty:
        return ()
    how = "as trained − switched off" + (f", mean over {len(added)} networks" if len(added) > 1 else "")
    return (
        f"Of this the ATTN layers themselves make {signed(added.mean())} AUROC ({how}); the rest is that networks with "
        "them were trained otherwise.",
    )


def claims_table(judged: Mapping[str, Sequence[Judgement]]) -> Table:
    """Lay out the verdict on every claim of the paper, and the estimates on outside sets beside it."""
    own, *outside = judged.values()
    rows = tuple(
        (
            Text(one.claim.statement, hover=one.claim.how),
            Text(one.claim.source),
            NOT_PRINTED if one.paper is None else Text(signed(one.paper)),
            _estimate(one),
            Text(one.verdict, reason(one)),
            *(_estimate(others[index]) for others in outside),
        )
        for index, one in enumerate(own)
    )
    columns = (Column("Claim", number=False), Column("Printed in", number=False), Column("paper"), Column("ours"))
    return Table(
        "claims",
        "The paper’s claims",
        "Each claim is a difference in AUROC on the test images that must be above zero; the paper’s value is the same "
        "difference of its printed numbers. How each is computed shows on hovering. The verdict is that of the test "
        "images; the same difference on outside sets, seen by no stage, stands beside it.",
        (
            *columns,
            Column("Verdict", number=False),
            *(Column(name, "ours, outside sets") for name in list(judged)[1:]),
        ),
        rows,
    )


def reason(one: Judgement) -> str:
    """Return why a verdict is as it is, networks and chains by their titles."""
    if one.absent:
        return f"not run: {', '.join(chain_title(chain) for chain in one.absent)}"
    if one.idle:
        cells = (f"{network_title(network)} ({chain_title(chain)})" for network, chain in one.idle)
        return f"attention is inactive in {', '.join(cells)}"
    return one.reason


def _estimate(one: Judgement) -> Text:
    if one.estimate is None:
        return MISSING
    return Text(signed(one.estimate), interval(one.low, one.high, difference=True))


def _sentence(what: str, one: Judgement, first: str, second: str, seeds: int) -> str:
    """Say what was found, what its interval draws, and which true difference would be found in 80 of 100 such studies.

    The detectable difference belongs to the same estimate: (z of 97.5 % + z of 80 %) × its standard error, which is
    half the interval's length ÷ z of 97.5 %.
    """
    if one.estimate is None or one.low is None or one.high is None:
        return f"{what}: not decidable ({reason(one)})."
    if one.verdict == "not decidable":
        end = reason(one) if one.idle else "no difference shown"
    else:
        end = f"{first if one.verdict == 'holds' else second} is better"
    drawn = "patients, one seed" if seeds == 1 else f"patients and {seeds} seeds"
    quantile = NormalDist().inv_cdf
    detectable = (one.high - one.low) / 2 * (1 + quantile(0.8) / quantile((1 + LEVEL) / 2))
    bounds = f"{LEVEL:.0%} interval {signed(one.low)} … {signed(one.high)} (over {drawn})".replace("%", " %")
    power = f"a true difference of {number(detectable, digits=2)} could be detected"
    return f"{what}: {signed(one.estimate)} AUROC, {bounds}: {end}; {power}."
