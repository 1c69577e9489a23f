"""The verdict on each claim of the paper in words: the answer on top of the page, and the table of claims."""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from medtransfer.evaluation.claims import Judged, Judgement
from medtransfer.evaluation.summary import LEVEL
from medtransfer.reporting.claims_table import claims_table as shared_claims_table
from medtransfer.reporting.content import Column, Table
from medtransfer.reporting.formatting import is_missing, number, signed
from medtransfer.studies.attentive_transfer.claims import attention_pairs, claims, judge_claim
from medtransfer.studies.attentive_transfer.paper.values import WHOLE_CHAIN
from medtransfer.studies.attentive_transfer.report.results import Results


def judgements(found: Results) -> list[Judged]:
    """Return every claim with its judgements by data set, the own test set first."""
    inactive = [key for key, change in found.change.items() if change["inactive"]]
    return [
        (
            claim,
            {
                name: judge_claim(claim, cells, inactive=inactive, seed=found.evaluation.seed)
                for name, cells in found.grid.items()
            },
        )
        for claim in claims(found.config.networks)
    ]


def headline(judged: Sequence[Judged], found: Results) -> tuple[str, ...]:
    """Return the study's answer in sentences, from the judgements on the own test set."""
    own = {claim.key: by_dataset[found.own] for claim, by_dataset in judged}
    attention, transfer = own["attention_is_better"], own["transfer_helps"]
    what, pairs = "Attention − convolution after the whole chain", len(attention_pairs(found.config.networks))
    if pairs > 1:
        what = f"{what}, mean over {pairs} pairs of networks"
    seeds = len(next(iter(found.cells.values())).seeds)
    return (
        _sentence(what, attention, "attention", "convolution", seeds),
        *(_own_work(found) if attention.estimate is not None else ()),
        _sentence("Whole chain − no transfer, mean over networks", transfer, "the chain", "no transfer", seeds),
    )


def claims_table(judged: Sequence[Judged], found: Results) -> Table:
    """Return the verdict on every claim of the paper, and the estimates on outside sets beside it."""
    return shared_claims_table(
        judged,
        {found.own: Column("ours"), **{name: Column(name, "ours, outside sets") for name in found.outside}},
        deciding=found.own,
        intro="Each claim is a difference in AUROC on the test images that must be above zero; the paper’s value is "
        "the same difference of its printed numbers. How each is computed shows on hovering. The verdict is that of "
        "the test images; the same difference on outside sets, seen by no stage, is beside it.",
        paper=True,
    )


def _own_work(found: Results) -> tuple[str, ...]:
    """Say how much of a difference the ATTN layers make themselves; the rest came about in training."""
    changes = [change["auroc"] for (_, chain), change in found.change.items() if chain == WHOLE_CHAIN]
    added = [value for value in changes if not is_missing(value)]
    if not added:
        return ()
    how = "as trained − switched off" + (f", mean over {len(added)} networks" if len(added) > 1 else "")
    return (
        f"Of this the ATTN layers themselves make {signed(np.mean(added))} AUROC ({how}); the rest is that networks "
        "with them were trained otherwise.",
    )


def _sentence(what: str, one: Judgement, first: str, second: str, seeds: int) -> str:
    """Say what was measured, what its interval draws, and which true difference would show in 80 of 100 such studies.

    The detectable difference belongs to the same estimate: (z of 97.5 % + z of 80 %) × its standard error, which is
    half the interval's length ÷ z of 97.5 %.
    """
    if one.estimate is None or one.low is None or one.high is None:
        return f"{what}: not decidable ({one.reason})."
    if one.verdict == "no difference":
        return f"{what}: no difference ({one.reason})."
    better = {"holds": f"{first} is better", "does not hold": f"{second} is better"}
    end = better.get(one.verdict, f"not decidable ({one.reason})")
    drawn = "patients, one seed" if seeds == 1 else f"patients and {seeds} seeds"
    quantile = NormalDist().inv_cdf
    detectable = (one.high - one.low) / 2 * (1 + quantile(0.8) / quantile((1 + LEVEL) / 2))
    bounds = f"{LEVEL:.0%} interval {signed(one.low)} … {signed(one.high)} (over {drawn})".replace("%", " %")
    power = f"a true difference of {number(detectable, digits=2)} could be detected"
    return f"{what}: {signed(one.estimate)} AUROC, {bounds}: {end}; {power}."
