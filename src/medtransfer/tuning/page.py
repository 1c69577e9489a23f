"""The page of a search: what was tried, what came out, how sure that is."""

from statistics import mean

from medtransfer.reporting.content import Column, Figure, ReportContent, Table, TableCell
from medtransfer.reporting.drawing import svg
from medtransfer.reporting.formatting import MISSING, interval, labels, number, signed
from medtransfer.reporting.origin import Origin, short
from medtransfer.tuning.config import Dimension
from medtransfer.tuning.figures import drawings, key_end, words
from medtransfer.tuning.records import Adoption, Confirmation
from medtransfer.tuning.results import EVALUATOR, EVALUATOR_SEEDS, SearchResult, TrialRecord, front

GLOSSARY = {
    "pruned": "stopped early, because earlier trials were better at the same validation, or not valid",
    "Pareto front": "the trials that no other one beats in one objective without losing in the other",
    "fANOVA": "share of the variance of a random forest's prediction that a value explains on its own",
    "multiply_adds": "multiply-adds of one image's forward pass",
}


def content(
    result: SearchResult, origin: Origin, adoption: Adoption | None, confirmation: Confirmation | None
) -> ReportContent:
    """Return the page of a search."""
    what = ", ".join(objective.name for objective in result.config.objectives)
    return ReportContent(
        title=f"Search {result.name}",
        about=f"Values of {', '.join(result.config.space)}; judged by {what} on validation rows.",
        headline=_headline(result, adoption, confirmation),
        champions=(),
        results=(*_confirmed(confirmation), *_front(result), _trials(result), *_importance(result)),
        figures=tuple(
            Figure(drawing.key, drawing.title, drawing.caption, svg(drawing.draw, drawing.key, height=drawing.height))
            for drawing in drawings(result)
        ),
        provenance=(_space(result), _runs(result)),
        limits=_limits(result, confirmation),
        glossary=GLOSSARY,
        **origin.parts(result.profile),
    )


def _headline(result: SearchResult, adoption: Adoption | None, confirmation: Confirmation | None) -> tuple[str, ...]:
    states = [trial.state for trial in result.trials]
    said = [
        f"{len(result.trials)} trials: {states.count('COMPLETE')} complete, {states.count('PRUNED')} pruned, "
        f"{states.count('FAIL')} failed; together {sum(t.seconds for t in result.trials) / 60:.1f} minutes."
    ]
    if best := result.best():
        reached = ", ".join(f"{o.name} {v:.4g}" for o, v in zip(result.config.objectives, best.objectives, strict=True))
        said.append(
            f"Best by the first objective: trial {best.number} ({reached}). It was chosen among "
            f"{len(result.complete)} by this very number, so the number is optimistic."
        )
    if adoption:
        said.append(f"Adopted: trial {adoption.trial}, chosen from {adoption.trials} trials.")
    if confirmation:
        said.append(_verdict(confirmation))
    return tuple(said)


def _verdict(confirmation: Confirmation) -> str:
    bounds = interval(confirmation.low, confirmation.high, difference=True)
    return (
        f"Confirmation of trial {confirmation.trial} on {len(confirmation.seeds)} new seeds and "
        f"{confirmation.images} test images of {confirmation.patients} patients: {confirmation.verdict} "
        f"({confirmation.metric} {signed(confirmation.gain)} {bounds}; "
        f"{confirmation.reason})."
    )


def _confirmed(confirmation: Confirmation | None) -> list[Table]:
    if confirmation is None:
        return []
    columns = (*labels("Values"), *(Column(f"seed {seed}", confirmation.metric) for seed in confirmation.seeds))
    rows = [
        (TableCell(arm), *(TableCell(number(point)) for point in points)) for arm, points in confirmation.points.items()
    ]
    return [
        Table(
            "confirmed",
            "Confirmation",
            "Adopted and former values, fitted again with seeds that no trial used; test rows.",
            (*columns, Column("mean", confirmation.metric)),
            tuple(
                (*row, TableCell(number(mean(points))))
                for row, points in zip(rows, confirmation.points.values(), strict=True)
            ),
            (_verdict(confirmation),),
        )
    ]


def _front(result: SearchResult) -> list[Table]:
    if len(result.config.objectives) < 2 or not result.complete:
        return []
    found = front(result.complete, result.config.objectives)
    intro = f"Trials that no other one beats in both objectives; {_chosen_text(result)}"
    return [Table("front-table", "Pareto front", intro, _columns(result)[:-2], tuple(_cells(result, t) for t in found))]


def _chosen_text(result: SearchResult) -> str:
    best = result.best()
    return f"trial {best.number} has the best {result.config.objectives[0].name}." if best else "none is complete."


def _trials(result: SearchResult) -> Table:
    rows = [
        (*_cells(result, trial), TableCell(trial.state.lower(), hover=trial.reason), TableCell(_reason(trial)))
        for trial in result.trials
    ]
    return Table(
        "trials",
        "Trials",
        "Every trial in order. Objectives are of the weights that the last fit selected, on validation rows.",
        _columns(result),
        tuple(rows),
    )


def _columns(result: SearchResult) -> tuple[Column, ...]:
    values = (Column(key_end(key), "values", number=one.kind != "choice") for key, one in result.config.space.items())
    objectives = (Column(objective.name, "objectives") for objective in result.config.objectives)
    return (Column("Trial"), *values, *objectives, Column("Seconds"), *labels("State", "Why"))


def _cells(result: SearchResult, trial: TrialRecord) -> tuple[TableCell, ...]:
    values = (TableCell(words(trial.values[key])) if key in trial.values else MISSING for key in result.config.space)
    reached = [TableCell(f"{value:.4g}") for value in trial.objectives] or [MISSING] * len(result.config.objectives)
    return (TableCell(str(trial.number)), *values, *reached, TableCell(number(trial.seconds, digits=1)))


def _reason(trial: TrialRecord) -> str:
    again = f"in the place of trial {trial.retry_of}, whose process ended" if trial.retry_of is not None else ""
    return "; ".join(part for part in (trial.reason, again) if part)


def _importance(result: SearchResult) -> list[Table]:
    made = []
    for index, shares in result.importance.items():
        objective = result.config.objectives[int(index)].name
        rows = sorted(shares.items(), key=lambda item: -mean(item[1]))
        made.append(
            Table(
                f"importance-{index}",
                f"Importance for {objective}",
                f"{EVALUATOR}, {EVALUATOR_SEEDS} seeds of its forest, {len(result.complete)} complete trials.",
                (*labels("Value"), Column("mean share"), Column("lowest"), Column("highest")),
                tuple(
                    (TableCell(key), *(TableCell(number(f(values), digits=2)) for f in (mean, min, max)))
                    for key, values in rows
                ),
                ("Another evaluator can rank differently; with few trials the order is not reliable.",),
            )
        )
    return made


def _space(result: SearchResult) -> Table:
    rows = [
        (TableCell(key), TableCell(_range(dimension)), TableCell("searched"))
        for key, dimension in result.config.space.items()
    ]
    rows += [
        (TableCell(key), TableCell(words(value)), TableCell("fixed")) for key, value in result.config.fixed.items()
    ]
    return Table(
        "space",
        "Space",
        "Keys of params.yaml that trials set; everything else is as in the file.",
        labels("Key", "Values", ""),
        tuple(rows),
        (f"Identity of the search: {result.space_hash}.",),
    )


def _range(dimension: Dimension) -> str:
    if dimension.kind == "choice":
        text = " | ".join(words(choice) for choice in dimension.choices)
    else:
        text = f"{dimension.low:g} … {dimension.high:g}" + (", logarithmic" if dimension.kind == "log" else "")
    conditions = ", ".join(f"{key} is {words(list(allowed))}" for key, allowed in dimension.when.items())
    return f"{text} (when {conditions})" if conditions else text


def _runs(result: SearchResult) -> Table:
    rows = [(TableCell(str(trial.number)), short(trial.run_key), TableCell(trial.code)) for trial in result.trials]
    codes = {trial.code for trial in result.trials if trial.code}
    mixed = ("The code of the fits changed during the search.",) if len(codes) > 1 else ()
    return Table(
        "runs",
        "The run behind every trial",
        f"Nested in the tracker below the run {result.run_key}.",
        (Column("Trial"), *labels("Run key", "Code")),
        tuple(rows),
        mixed,
    )


def _limits(result: SearchResult, confirmation: Confirmation | None) -> tuple[str, ...]:
    said = [
        "Every trial has one seed: differences between trials hold chance in training.",
        "Validation rows chose weights within each trial and the trial itself; only a confirmation on new seeds and "
        "test rows says whether there is a gain.",
    ]
    if confirmation is None:
        said.append(f"Not confirmed yet: medtransfer confirm {result.name}.")
    else:
        said.append("Weights that the fits start from and that the search does not train are the same for all seeds.")
    if any(objective.cost == "step_seconds" for objective in result.config.objectives):
        said.append("Times of training steps were measured while other trials ran.")
    return tuple(said)
