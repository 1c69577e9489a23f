"""What a comparison found, its answer in sentences, and all of it for JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medtransfer.audit.verdicts import ALARMS, Half
from medtransfer.comparing.fits import Budget
from medtransfer.comparing.images import DataReport
from medtransfer.comparing.question import Question
from medtransfer.comparing.ranking import ALIKE, WORSE, Place, smallest_difference
from medtransfer.comparing.screening import Screened
from medtransfer.evaluation.cells import Row
from medtransfer.models.cost import MeasuredCost
from medtransfer.reporting.formatting import METRIC_TITLES, bounds, image_count, interval, listed, no_interval, number

LARGEST = 0.5
"""From chance to perfect: no two AUROC of interest differ by more."""


@dataclass(frozen=True)
class Findings:
    """Everything that a comparison found, in the order in which it becomes known."""

    name: str
    question: Question
    data: DataReport
    audits: Mapping[str, Half]
    """Class or finding → what the data offers."""
    screened: Sequence[Screened]
    """Best first."""
    costs: Mapping[str, MeasuredCost]
    """By variant."""
    budget: Budget
    places: Sequence[Place] = ()
    commands: Sequence[tuple[str, str]] = ()
    """What a command does, and the command."""
    seconds: float = 0.0


def headline(found: Findings) -> tuple[str, ...]:
    """Return the answer in sentences and the commands that go on."""
    return (*answer(found), *(f"{what}: {command}" for what, command in found.commands))


def answer(found: Findings) -> tuple[str, ...]:
    """Return the answer in sentences, the audit of the data at the end."""
    said = _answer(found) if found.places else [_screened_only(found)]
    for name, half in found.audits.items():
        shortcut = " A high number may then show the shortcut and not the disease." if half.verdict in ALARMS else ""
        said.append(f"Audit of the data, {name}: {half.verdict} ({half.reason}).{shortcut}")
    return tuple(said)


def _answer(found: Findings) -> list[str]:
    first, others = found.places[0], found.places[1:]
    metric, cell = title_of(found.question.metric), first.cell
    said = [
        f"Highest on {image_count(cell, 'test images')}: {name_of(first)}, {metric} {_numbers(first.numbers)}, mean of "
        f"{counted(len(cell.seeds), 'seed')}."
    ]
    alike = [place for place in others if place.verdict == ALIKE]
    worse = [name_of(place) for place in others if place.verdict == WORSE]
    if worse:
        said.append(f"Worse than the highest: {listed(worse)}.")
    if alike:
        said.append(f"Not distinguishable from the highest: {listed([name_of(place) for place in alike])}.")
        cheapest = min([first, *alike], key=lambda place: found.costs[place.cell.variant].parameters)
        if cheapest is not first:
            millions = found.costs[cheapest.cell.variant].parameters / 1e6
            said.append(
                f"The smallest of those that cannot be told apart: {name_of(cheapest)}, {millions:.1f} M parameters."
            )
    if others:
        said.append(_could_show(found, metric))
    return said


def _could_show(found: Findings, metric: str) -> str:
    smallest = smallest_difference(found.places)
    if math.isnan(smallest):
        reason = next((place.reason for place in found.places[1:] if place.reason), "")
        return f"Which differences these images could show cannot be told: {reason}."
    if smallest > LARGEST and found.question.task != "regression":
        seeds = counted(len(found.budget.seeds), "seed")
        return f"These images and {seeds} could show no difference in {metric} up to {LARGEST:g}."
    return (
        f"The smallest difference in {metric} that these images and seeds could show is about {smallest:.2f} "
        "(in 80 % of repetitions)."
    )


def _screened_only(found: Findings) -> str:
    best = found.screened[0]
    return (
        f"Screening alone: {best.candidate.name} ranks first of {len(found.screened)} by its linear probe. Nothing was "
        "fine-tuned, so this is no comparison of results."
    )


def plain(found: Findings) -> dict[str, Any]:
    """Return what a comparison found for JSON."""
    return {
        "name": found.name,
        "question": found.question.model_dump(mode="json"),
        "budget": found.budget.model_dump(mode="json"),
        "data": asdict(found.data),
        "audit": {name: half.plain() for name, half in found.audits.items()},
        "screening": [
            {
                "network": each.candidate.variant,
                "start": each.candidate.condition,
                "probe": _known({"value": each.probe.value, "low": each.probe.low, "high": each.probe.high}),
                "reason": each.probe.reason,
                "logme": each.logme,
                "leep": each.leep,
                "nce": each.nce,
            }
            for each in found.screened
        ],
        "ranking": [
            {
                "network": place.cell.variant,
                "start": place.cell.condition,
                "metric": found.question.metric,
                "numbers": place.numbers,
                "verdict": place.verdict,
                "reason": place.reason,
                "behind": place.behind,
                **_known({"detectable": place.detectable}),
            }
            for place in found.places
        ],
        "costs": {name: asdict(cost) for name, cost in found.costs.items()},
        "next": dict(found.commands),
    }


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``3 seeds``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def title_of(metric: str) -> str:
    """Return a metric as it is written."""
    return METRIC_TITLES.get(metric, {"r2": "R²"}.get(metric, metric))


def name_of(place: Place) -> str:
    """Return a candidate's name, network and start."""
    return f"{place.cell.variant}@{place.cell.condition}"


def _numbers(row: Row) -> str:
    low, high = bounds(row)
    return f"{number(row['mean'])} {interval(low, high) or no_interval(row['reason'])}".strip()


def _known(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in values.items()}
