"""The verdicts on a paper's claims as a table."""

from collections.abc import Callable, Mapping, Sequence

from medtransfer.evaluation.claims import Judged, Judgement
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import MISSING, NOT_PRINTED, interval, labels, no_interval, signed


def claims_table(
    judged: Sequence[Judged],
    columns: Mapping[str, Column],
    *,
    deciding: str,
    intro: str,
    paper: bool = False,
    title: Callable[[str], str] = str,
) -> Table:
    """Return one row per claim: its estimates, and the verdict of the deciding estimate.

    Args:
        judged: claims with their judgements by the names of ``columns``.
        columns: one for each estimate, by name.
        deciding: the name of the column whose verdict counts.
        intro: the sentence before the table.
        paper: whether the paper prints numbers from which a claim can be computed.
        title: how the condition that a claim is about is written.
    """
    settings = any(claim.setting for claim, _ in judged)
    rows = [
        (
            TableCell(claim.statement, hover=claim.how),
            *([TableCell(title(claim.setting))] if settings else []),
            TableCell(claim.source),
            *([_printed(by_column[deciding])] if paper else []),
            *(_estimate(by_column[name]) for name in columns),
            _verdict(by_column[deciding]),
        )
        for claim, by_column in judged
    ]
    head = (
        *labels("Claim", *(["Setting"] if settings else []), "Printed in"),
        *([Column("paper")] if paper else []),
        *columns.values(),
        *labels("Verdict"),
    )
    return Table("claims", "The paper’s claims", intro, head, tuple(rows))


def _printed(one: Judgement) -> TableCell:
    return NOT_PRINTED if one.paper is None else TableCell(signed(one.paper))


def _verdict(one: Judgement) -> TableCell:
    left_out = "" if one.estimate is None and not one.excluded else one.left_out
    return TableCell(one.verdict, "; ".join(part for part in (one.reason, left_out) if part))


def _estimate(one: Judgement) -> TableCell:
    if one.estimate is None:
        return MISSING
    return TableCell(signed(one.estimate), interval(one.low, one.high, difference=True) or no_interval(one.reason))
