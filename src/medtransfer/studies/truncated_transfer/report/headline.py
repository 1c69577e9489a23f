"""The study's answer, in one sentence per claim."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medtransfer.evaluation.cells import Row
from medtransfer.evaluation.claims import Claim, Judged, Judgement
from medtransfer.reporting.formatting import auroc_sentence, interval, no_interval, signed
from medtransfer.studies.truncated_transfer.claims import DECIDING, Ties
from medtransfer.studies.truncated_transfer.report.names import (
    condition_title,
    network_of,
    network_title,
    variant_title,
)

SHOWN = 3
"""Largest number of settings or cuts that a sentence lists; for more it only counts the verdicts."""


def headline(
    judged: Sequence[Judged], ties: Sequence[Ties], costs: Mapping[str, Any], rows: Sequence[Row]
) -> tuple[str, ...]:
    """Return one sentence for each part of claim a, and one each for claims b and c; AUROCs where nothing is compared.

    Args:
        judged: claims a and b.
        ties: claim c.
        costs: content of cost.json.
        rows: of every variant, condition and metric.
    """
    by_key = {key: [(claim, one[DECIDING]) for claim, one in judged if claim.key == key] for key in ("a1", "a2", "b")}
    separates = f"(c) AUPRC separates what AUROC ties: {_counts(one.judgement for one in ties)}."
    if not any(one[DECIDING].estimate is not None for _, one in judged):
        own = [row for row in rows if row["metric"] == "auroc"]
        values = [(f"{variant_title(row['variant'])}, {condition_title(row['condition'])}:", row) for row in own]
        nothing = "Nothing to compare by claims (a) and (b) was run."
        return (nothing, *([separates] if any(one.pairs for one in ties) else []), auroc_sentence(values))
    return (
        _sentence("(a) Transfer − random initialisation, mean over networks", by_key["a1"]),
        _sentence("(a) Gain of transfer with the fewest − with the most data", by_key["a2"]),
        _sentence("(b) Cut − whole network, both with transfer", by_key["b"]) + _savings(by_key["b"], costs),
        separates,
    )


def _sentence(compared: str, judged: Sequence[tuple[Claim, Judgement]]) -> str:
    known = [(claim, one) for claim, one in judged if one.estimate is not None]
    if not known:
        return f"{compared}: not decidable (nothing to compare was run)."
    if len(known) > SHOWN:
        return f"{compared}, AUPRC: {_counts(one for _, one in known)}."
    parts = [f"{signed(one.estimate)} {_bounds(one)} ({_where(claim)}): {one.verdict}" for claim, one in known]
    return f"{compared}, AUPRC with 95 % interval: {'; '.join(parts)}."


def _bounds(one: Judgement) -> str:
    return interval(one.low, one.high, difference=True) or f"without interval, {no_interval(one.reason) or one.reason}"


def _where(claim: Claim) -> str:
    cut = f"{network_title(next(iter(claim.contrast))[0])}, " if claim.key == "b" else ""
    return cut + condition_title(claim.setting)


def _counts(judged: Iterable[Judgement]) -> str:
    counts = Counter(one.verdict for one in judged)
    total = sum(counts.values())
    return ", ".join(f"{verdict} in {count} of {total}" for verdict, count in counts.most_common()) or "not decidable"


def _savings(judged: Sequence[tuple[Claim, Judgement]], costs: Mapping[str, Any]) -> str:
    """State what each cut saves compared with its whole network."""
    networks, parts = costs["networks"], {}
    for claim, _ in judged:
        variant, other = (variant for variant, _ in claim.contrast)
        cut, whole = network_of(variant), network_of(other)
        if cut in networks and whole in networks:
            share = networks[cut]["parameters"] / networks[whole]["parameters"]
            faster = networks[whole]["step_seconds"] / networks[cut]["step_seconds"]
            title = network_title(variant)
            parts[cut] = f"{title} has {share:.0%} of the parameters, and its steps are {faster:.1f} times as fast"
    if len(parts) > SHOWN:
        return " The table “Quality against cost” shows what each cut saves."
    return f" {'; '.join(parts.values())}.".replace("%", " %") if parts else ""
