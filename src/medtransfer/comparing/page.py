"""The page of a comparison: the answer first, then ranking, screening, data, audit, runs and limits."""

import math

from medtransfer.comparing.findings import Findings, headline, name_of, title_of
from medtransfer.evaluation.cells import Row
from medtransfer.evaluation.intervals import Interval
from medtransfer.models.cost import MeasuredCost
from medtransfer.reporting.content import Column, Figure, ReportContent, Table, TableCell
from medtransfer.reporting.drawing import BLUE, ORANGE
from medtransfer.reporting.formatting import MISSING, estimate, interval, labels, listed, no_interval, number
from medtransfer.reporting.plots import Mark, forest

GLOSSARY = {
    "screening": "scores of the features of a network before fine-tuning; they only predict what fine-tuning gives",
    "linear probe": "ridge regression on fixed features, scored on patients that it was not fitted on",
    "LogME": "logarithm of the evidence of the labels given the features, per image (You et al. 2021)",
    "LEEP": "how well the source's own labels predict the target's (Nguyen et al. 2020), in nats",
    "NCE": "minus the conditional entropy of the target's labels given the source's (Tran et al. 2019), in nats",
    "not distinguishable": "the interval of the difference to the highest includes zero",
}


def content(found: Findings) -> ReportContent:
    """Return the page."""
    return ReportContent(
        title=f"Comparison {found.name}",
        about=f"Which network for these images? {found.question.sentence}.",
        origin=f"{found.data.lines()[0].partition(';')[0]}.",
        phantoms=False,
        home="",
        headline=headline(found),
        champions=(),
        results=(*([_ranking(found)] if found.places else []), _screening(found)),
        figures=(_forest(found),),
        data=(_counts(found), *([_left_out(found)] if found.data.left_out else []), _audit(found)),
        provenance=(_settings(found),),
        limits=_limits(found),
        glossary=GLOSSARY,
    )


def _ranking(found: Findings) -> Table:
    metric = title_of(found.question.metric)
    rows = tuple(
        (
            TableCell(str(rank)),
            TableCell(place.cell.variant),
            TableCell(place.cell.condition),
            estimate(place.numbers),
            estimate(place.behind, difference=True) if place.behind else TableCell("—"),
            TableCell(place.verdict, hover=place.reason),
            *_cost(found.costs.get(place.cell.variant)),
        )
        for rank, place in enumerate(found.places, start=1)
    )
    columns = (
        Column("Rank"),
        *labels("Network", "Start"),
        Column(metric, "test images"),
        Column("behind the highest", "test images"),
        Column("verdict", "test images", number=False),
        *COSTS,
    )
    intro = (
        f"{found.budget.steps} steps of {found.budget.batch_size} images for each, seeds "
        f"{listed([str(seed) for seed in found.budget.seeds])}. Mean ± sd over seeds, below it the 95 % interval over "
        "patients and seeds."
    )
    notes = (
        "The intervals of the differences are widened for the number of candidates; equal ranks by chance are likely "
        "where a verdict is not distinguishable.",
    )
    return Table("ranking", "Ranking after fine-tuning", intro, columns, rows, notes)


COSTS = (
    Column("parameters, M", "cost"),
    Column("training step, ms", "cost"),
    Column("latency, ms", "cost"),
)


def _cost(cost: MeasuredCost | None) -> tuple[TableCell, ...]:
    if cost is None:
        return (MISSING,) * 3
    return (
        TableCell(number(cost.parameters / 1e6, digits=2)),
        TableCell(number(cost.step_seconds * 1e3, digits=0)),
        TableCell(number(cost.latency_seconds * 1e3, digits=0)),
    )


def _screening(found: Findings) -> Table:
    tuned = {(place.cell.variant, place.cell.condition) for place in found.places}
    rows = tuple(
        (
            TableCell(str(rank)),
            TableCell(one.candidate.variant),
            TableCell(one.candidate.condition),
            _interval_cell(one.probe),
            *(TableCell(number(value)) for value in (one.logme, one.leep, one.nce)),
            TableCell("yes" if (one.candidate.variant, one.candidate.condition) in tuned else "screening only"),
            *_cost(found.costs.get(one.candidate.variant)),
        )
        for rank, one in enumerate(found.screened, start=1)
    )
    columns = (
        Column("Rank"),
        *labels("Network", "Start"),
        Column(f"linear probe, {title_of(found.question.metric)}", "screening"),
        Column("LogME", "screening"),
        Column("LEEP", "screening"),
        Column("NCE", "screening"),
        Column("fine-tuned", number=False),
        *COSTS,
    )
    intro = (
        "One pass over the training and validation images; no test image is read. The probe is scored in "
        "five folds of whole patients. The best by the probe are fine-tuned."
    )
    return Table("screening", "Screening", intro, columns, rows, ("A rank from screening alone is no result.",))


def _interval_cell(one: Interval) -> TableCell:
    low = "" if math.isnan(one.low) else interval(one.low, one.high)
    return TableCell(number(one.value), low or no_interval(one.reason), one.reason)


def _forest(found: Findings) -> Figure:
    metric = title_of(found.question.metric)
    looks = {"fine-tuned": {"color": BLUE, "marker": "o"}, "screening": {"color": ORANGE, "marker": "s"}}
    tuned = [(name_of(place), place.numbers, "fine-tuned") for place in found.places]
    probes = [(one.candidate.name, _as_row(one.probe), "screening") for one in found.screened]
    marks = [
        Mark("", f"{metric}, {'test images' if kind == 'fine-tuned' else 'linear probe'}", line, kind, looks[kind], row)
        for line, row, kind in [*tuned, *probes]
    ]
    caption = (
        f"{metric} with 95 % intervals; to the left after fine-tuning on test images, to the right from screening on "
        "held-out patients of the training and validation images."
        if found.places
        else f"{metric} of the linear probe with 95 % intervals over patients."
    )
    return forest("candidates", "All candidates", caption, marks)


def _as_row(one: Interval) -> Row:
    low, high, value = (None if math.isnan(part) else part for part in (one.low, one.high, one.value))
    return {
        "mean": value,
        "sd": None,
        "low": low,
        "high": high,
        "low_seeds": None,
        "high_seeds": None,
        "reason": one.reason,
    }


def _counts(found: Findings) -> Table:
    names = list(dict.fromkeys(name for row in found.data.counts.values() for name in row))
    rows = tuple(
        (TableCell(split), *(TableCell(str(row.get(name, 0))) for name in names))
        for split, row in found.data.counts.items()
    )
    title = "positive images" if found.question.task == "multilabel" else "images"
    notes = tuple(line.strip() for line in found.data.lines()[1 + len(rows) :] if not line.startswith("  left out"))
    return Table(
        "data",
        "What was read",
        f"{found.data.split[0].upper()}{found.data.split[1:]}.",
        (*labels("Split"), *(Column(n, title) for n in names)),
        rows,
        notes,
    )


def _left_out(found: Findings) -> Table:
    rows = tuple(
        (TableCell(reason), TableCell(str(len(files))), TableCell(", ".join(files[:5]) + (", …" if files[5:] else "")))
        for reason, files in found.data.left_out.items()
    )
    columns = (*labels("Reason"), Column("Files"), *labels("First of them"))
    return Table("left-out", "What was left out", "Files and rows that take no part.", columns, rows)


def _audit(found: Findings) -> Table:
    rows = tuple(
        (
            TableCell(name),
            TableCell(row.name),
            TableCell(number(row.value), interval(row.low, row.high)),
            TableCell(row.sign or "—"),
            TableCell(row.about, row.reason),
        )
        for name, half in found.audits.items()
        for row in half.rows
    )
    columns = (*labels("Question", "Row"), Column("Value"), *labels("Sign", "What it is"))
    verdicts = tuple(f"{name}: {half.verdict} ({half.reason})." for name, half in found.audits.items())
    intro = "Does the data offer a shortcut: can the label be told without looking at the disease?"
    without = () if found.audits else ("The audit asks about classes and findings; this target is a number.",)
    return Table("audit", "Audit of the data", intro, columns, rows, (*verdicts, *without))


def _settings(found: Findings) -> Table:
    facts = {
        "question": found.question.flags,
        "side of the images, px": str(found.budget.crop),
        "steps × images": f"{found.budget.steps} × {found.budget.batch_size}",
        "learning rate (AdamW, cosine)": f"{found.budget.lr:g}",
        "seeds": ", ".join(map(str, found.budget.seeds)),
        "minutes of this call": f"{found.seconds / 60:.1f}",
    }
    rows = tuple((TableCell(name), TableCell(value)) for name, value in facts.items())
    return Table(
        "settings", "Settings", "The runs are in the tracker's experiment compare.", labels("What", "Value"), rows
    )


def _limits(found: Findings) -> tuple[str, ...]:
    said = [
        "One learning rate for all candidates: one that needs another is at a disadvantage; medtransfer tune searches.",
        "The highest was chosen on the test images, so its own number is optimistic.",
        "Times were measured on this machine, with whatever else ran on it; the networks were timed in turn.",
    ]
    if found.data.patients is None:
        said.append("Patients are not known: images of one patient may be in two splits, and there are no intervals.")
    if len(found.budget.seeds) == 1:
        said.append("One seed says nothing about what another training would give.")
    return tuple(said)
