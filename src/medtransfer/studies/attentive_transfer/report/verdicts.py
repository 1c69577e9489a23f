"""The verdict on each claim of the paper in words: the answer at the top of the page, and the table of claims."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from medtransfer.evaluation.claims import Judged, Judgement
from medtransfer.evaluation.summary import LEVEL
from medtransfer.reporting.claims_table import claims_table as shared_claims_table
from medtransfer.reporting.content import Column, Table
from medtransfer.reporting.formatting import auroc_sentence, is_missing, number, signed
from medtransfer.studies.attentive_transfer.claims import (
    ABOUT_ATTENTION,
    attention_pairs,
    claims,
    judge_claim,
    left_out,
)
from medtransfer.studies.attentive_transfer.paper.values import WHOLE_CHAIN
from medtransfer.studies.attentive_transfer.report.results import Results
from medtransfer.studies.attentive_transfer.titles import attention_layers, chain_title, has_warm_up, network_title


def judgements(results: Results) -> list[Judged]:
    """Return every claim with its judgements by data set, the own test set first."""
    inactive = [key for key, change in results.change.items() if change["inactive"]]
    return [
        (
            claim,
            {
                name: replace(judge_claim(claim, cells, inactive=inactive), left_out=left_out(results.config, claim))
                for name, cells in results.grid.items()
            },
        )
        for claim in claims(results.config.networks, results.wanted)
    ]


def headline(judged: Sequence[Judged], results: Results) -> tuple[str, ...]:
    """Return the study's answer in sentences, from the judgements on the study's own test set."""
    own = {claim.key: by_dataset[results.own] for claim, by_dataset in judged}
    attention, transfer = own["attention_is_better"], own["transfer_helps"]
    measured, pairs = "Attention − convolution after the whole chain", len(attention_pairs(results.config.networks))
    if pairs > 1:
        measured = f"{measured}, mean over {pairs} pairs of networks"
    seeds = len(next(iter(results.cells.values())).seeds)
    transferred = "Whole chain − no transfer, mean over networks"
    sentences = (
        _sentence(measured, attention, "attention", "convolution", seeds),
        *(_own_work(results) if attention.estimate is not None else ()),
        *_after_warm_up(own, results, seeds),
        _sentence(transferred, transfer, "the chain", "no transfer", seeds),
    )
    compared = any(each.estimate is not None for each in (attention, transfer))
    return sentences if compared else (*sentences, *_values(results))


def _values(results: Results) -> tuple[str, ...]:
    """State the AUROC of every network and chain, where there is nothing to compare them with."""
    own = [key for key in results.wanted if key in results.cells]
    rows = [(f"{network_title(n)}, {chain_title(c)}:", results.known.get((results.own, n, c, "auroc"))) for n, c in own]
    return (auroc_sentence(rows),)


def _after_warm_up(own: Mapping[str, Judgement], results: Results, seeds: int) -> list[str]:
    """Compare ATTN layers that were trained alone first with plain networks and with their control."""
    chains = [chain for chain in results.config.chains if has_warm_up(chain)]
    if not chains:
        return []
    chain = max(chains, key=lambda name: name.count("-"))
    others = {"plain": "plain networks without it", "control": "as many parameters in convolutions"}
    return [
        _sentence(f"Attention − {other} after {chain_title(chain)}", own[key], "attention", other, seeds)
        for question, other in others.items()
        for key in [f"{ABOUT_ATTENTION}{question}_after_{chain}"]
        if key in own
    ]


def claims_table(judged: Sequence[Judged], results: Results) -> Table:
    """Return the verdict on every claim of the paper, with the estimates on outside sets."""
    return shared_claims_table(
        judged,
        {results.own: Column("ours"), **{name: Column(name, "ours, outside sets") for name in results.outside}},
        deciding=results.own,
        intro="Each claim is a difference in AUROC on the test images that must be above zero; the paper’s value is "
        "the same difference of its printed numbers. Hover over a claim to see how it is computed. Only the test "
        "images decide the verdict; the last columns show the same difference on outside sets.",
        paper=True,
    )


def _own_work(results: Results) -> tuple[str, ...]:
    """State how much of the difference the ATTN layers themselves make; the rest comes from training."""
    changes = [
        change["auroc"]
        for (name, chain), change in results.change.items()
        if chain == WHOLE_CHAIN and attention_layers(name)
    ]
    added = [value for value in changes if not is_missing(value)]
    if not added:
        return ()
    how = "as trained − switched off" + (f", mean over {len(added)} networks" if len(added) > 1 else "")
    return (
        f"Of this, the ATTN layers themselves make {signed(np.mean(added))} AUROC ({how}); the rest is due to the "
        "different training of networks with ATTN layers.",
    )


def _sentence(measured: str, one: Judgement, first: str, second: str, seeds: int) -> str:
    """State the estimate, its interval, and the true difference that 80 of 100 such studies would detect.

    The detectable difference belongs to the same estimate: (z of 97.5 % + z of 80 %) × its standard error, which is
    half the interval's length ÷ z of 97.5 %.
    """
    if one.estimate is None or one.low is None or one.high is None:
        return f"{measured}: not decidable ({one.reason})."
    if one.verdict == "no difference":
        return f"{measured}: no difference ({one.reason})."
    better = {"holds": f"{first} is better", "does not hold": f"{second} is better"}
    end = better.get(one.verdict, f"not decidable ({one.reason})")
    over = "patients, one seed" if seeds == 1 else f"patients and {seeds} seeds"
    over += f"; {one.left_out}" if one.left_out else ""
    bounds = f"{LEVEL:.0%} interval {signed(one.low)} … {signed(one.high)} (over {over})".replace("%", " %")
    start = f"{measured}: {signed(one.estimate)} AUROC, {bounds}: {end}"
    if seeds == 1:
        return f"{start}."
    quantile = NormalDist().inv_cdf
    detectable = (one.high - one.low) / 2 * (1 + quantile(0.8) / quantile((1 + LEVEL) / 2))
    return f"{start}; a true difference of {number(detectable, digits=2)} could be detected."
