"""The written rule from numbers to verdicts. Its limits are fixed; docs/decisions.md says where they come from.

A row that the rule judges measures something that is 0.5 (an AUROC) or 0 (a difference of two AUROC) where there is no
shortcut, whatever the disease looks like:

==============  ===========================  ===============================
sign            AUROC                        difference of two AUROC
==============  ===========================  ===============================
confounded      interval above 0.70          interval above 0.10
suspicious      interval above 0.55          interval above 0.02
no sign         interval below 0.70          interval below 0.10
cannot tell     anything else                anything else
==============  ===========================  ===============================

The verdict is the worst sign of the rows. Without an alarm it is *cannot tell* when a row cannot tell or none was
judged, else *no sign*.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from medtransfer.audit.rows import Row, Verdict, names_of


@dataclass(frozen=True)
class Limits:
    """Where the interval of a row has to be above to be a sign."""

    suspicious: float
    confounded: float


AUROC = Limits(0.55, 0.70)
DIFFERENCE = Limits(0.02, 0.10)
ORDER: tuple[Verdict, ...] = ("no sign", "suspicious", "confounded")
ALARMS: tuple[Verdict, ...] = ("confounded", "suspicious")


@dataclass(frozen=True)
class Half:
    """One half of an audit: its verdict, why, and every number."""

    verdict: Verdict
    reason: str
    rows: tuple[Row, ...]

    def plain(self) -> dict[str, Any]:
        """Return the half for JSON."""
        return {"verdict": self.verdict, "reason": self.reason, "rows": [row.plain() for row in self.rows]}


def judged(row: Row, limits: Limits = AUROC) -> Row:
    """Return a row with its sign; one that is not applicable has none."""
    if row.value is None and row.reason.startswith("not applicable"):
        return row
    return replace(row, sign=sign(row.low, row.high, limits))


def sign(low: float | None, high: float | None, limits: Limits) -> Verdict:
    """Return what an interval is a sign of."""
    if low is None or high is None:
        return "cannot tell"
    if low > limits.confounded:
        return "confounded"
    if low > limits.suspicious:
        return "suspicious"
    return "no sign" if high < limits.confounded else "cannot tell"


def conclude(rows: Sequence[Row], *, doubt: str = "") -> Half:
    """Return the verdict of rows.

    Args:
        rows: judged and others.
        doubt: why there can be no *no sign* whatever the rows say; empty where there can.
    """
    skipped = [row for row in rows if row.reason.startswith("not applicable")]
    blind = f"; not applicable: {', '.join(row.name for row in skipped)}" if skipped else ""
    for alarm in ALARMS:
        if raised := names_of(rows, alarm):
            return Half(alarm, f"{alarm} by: {raised}{blind}", tuple(rows))
    undecided = [row for row in rows if row.sign == "cannot tell"]
    if doubt or undecided or not any(row.sign for row in rows):
        why = doubt or "; ".join(f"{row.name}: {row.reason or 'the interval is too wide'}" for row in undecided)
        return Half("cannot tell", (why or "no row could be judged") + blind, tuple(rows))
    return Half("no sign", f"no sign in: {names_of(rows, 'no sign')}{blind}", tuple(rows))
