"""A comparison from its parts: audit, screening, costs, fits, predictions and ranking; each step is kept on disk."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from medtransfer import paths
from medtransfer.audit.offered import offered
from medtransfer.audit.verdicts import Half
from medtransfer.comparing.candidates import Candidate
from medtransfer.comparing.findings import Findings, counted, headline, plain
from medtransfer.comparing.fits import STUDY, Budget, fits_of, fitted, view
from medtransfer.comparing.images import DataReport
from medtransfer.comparing.page import content
from medtransfer.comparing.question import Question
from medtransfer.comparing.ranking import ranking
from medtransfer.comparing.screening import Screened, promising, screen
from medtransfer.config import fingerprint
from medtransfer.data.packed import PackedDataset
from medtransfer.evaluation.cells import EvaluationConfig
from medtransfer.evaluation.predictions import read_predictions, write_predictions
from medtransfer.evaluation.scorecard import scorecard, seed_metrics
from medtransfer.files import read_json, write_json
from medtransfer.models.classifier import build_network, require_network
from medtransfer.models.cost import MeasuredCost, measure_costs
from medtransfer.models.weights import load_model
from medtransfer.reporting.formatting import interval, number
from medtransfer.reporting.page import write_report
from medtransfer.tracking.mlflow_tracker import append
from medtransfer.tracking.views import FIT, RunView, save_view
from medtransfer.training.auditing import cases_of
from medtransfer.training.fitting import Setting
from medtransfer.training.inference import predicted_rows
from medtransfer.training.progress import console
from medtransfer.training.run import Plan, run_plan


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared, on which images, and how.

    Attributes:
        name: of the comparison and of its folders.
        question: the target.
        data: the packed images.
        report: what was read.
        candidates: networks and starts.
        budget: of every fit.
        keep: how many candidates are fine-tuned; 0 screens alone.
        setting: device and code.
    """

    name: str
    question: Question
    data: PackedDataset
    report: DataReport
    candidates: Sequence[Candidate]
    budget: Budget
    keep: int
    setting: Setting

    @property
    def scratch(self) -> Path:
        """Folder of what is kept between calls."""
        return scratch_folder(self.name)

    @property
    def results(self) -> Path:
        """Folder of the page."""
        return results_folder(self.name)


def scratch_folder(name: str) -> Path:
    """Return the folder of packed images, features and predictions of a comparison."""
    return paths.workspace() / paths.below(paths.SCRATCH / STUDY, name, "comparison")


def results_folder(name: str) -> Path:
    """Return the folder of a comparison's page and numbers."""
    return paths.workspace() / paths.below(paths.study_folder(STUDY), name, "comparison")


def compare(one: Comparison, *, started: float) -> tuple[Findings, pd.DataFrame | None]:
    """Audit, screen, fine-tune and rank; return what was found, and the predictions if there are any.

    Args:
        one: the comparison.
        started: ``time.monotonic()`` when the call began.

    Raises:
        ModelError: a network cannot be built, its weights do not fit, or the images do not pass through it.
    """
    for candidate in one.candidates:
        require_network(candidate.structure, side=one.budget.crop)
    audits = _audits(one)
    screened = _screened(one)
    costs = _costs(one)
    tuned, rest = promising(screened, one.keep)
    found = Findings(one.name, one.question, one.report, audits, [*tuned, *rest], costs, one.budget)
    if not tuned:
        return replace(found, seconds=time.monotonic() - started), None
    _announce(one, tuned, costs)
    chosen = [each.candidate for each in tuned]
    table = _predicted(one, chosen)
    _track(one, chosen, table)
    places = ranking(table, one.question)
    return replace(found, places=places, seconds=time.monotonic() - started), table


def publish(one: Comparison, found: Findings) -> None:
    """Write the page and ``comparison.json``, and print the answer."""
    write_report(one.results, content(found))
    write_json(one.results / "comparison.json", plain(found))
    for sentence in headline(found):
        say(sentence)
    say(f"page: {one.results / 'index.html'}")


def say(text: str) -> None:
    """Print a line for the user."""
    console.print(text, markup=False, soft_wrap=True)


def _audits(one: Comparison) -> dict[str, Half]:
    question = one.question
    asked = (question.positive,) if question.positive else question.outputs if question.task != "regression" else ()
    halves = {}
    for name in asked:
        cases, _ = cases_of(one.data, one.data.rows(), positive=name, crop=one.budget.crop)
        halves[name] = offered(cases)
        say(f"audit of the data, {name}: {halves[name].verdict} ({halves[name].reason})")
    return halves


def _screened(one: Comparison) -> list[Screened]:
    screened, metric = [], one.question.metric
    for candidate in one.candidates:
        each = screen(
            candidate,
            one.data,
            one.question,
            crop=one.budget.crop,
            engine=one.setting.engine,
            folder=one.scratch / "features",
        )
        screened.append(each)
        probe = f"{number(each.probe.value)} {interval(*_bounds(each))}".strip()
        logme = "" if each.logme is None else f", LogME {number(each.logme)}"
        say(f"screening: {candidate.name}: probe {metric} {probe}{logme}")
    return screened


def _bounds(each: Screened) -> tuple[float, float]:
    return each.probe.low, each.probe.high


def _costs(one: Comparison) -> dict[str, MeasuredCost]:
    """Return the cost of every network, measured once and kept."""
    networks = {candidate.variant: candidate.structure for candidate in one.candidates}
    about: dict[str, Any] = {name: config.model_dump(mode="json") for name, config in networks.items()}
    about |= {"batch": one.budget.batch_size, "crop": one.budget.crop, "device": str(one.setting.engine.device)}
    file = one.scratch / f"costs-{fingerprint(about)}.json"
    if not file.exists():
        engine, outputs = one.setting.engine, max(2, len(one.question.outputs))
        models = {name: build_network(config, outputs, seed=0) for name, config in networks.items()}
        for model in models.values():
            engine.place(model)
        costs = measure_costs(models, one.budget.crop, batch=one.budget.batch_size)
        write_json(file, {name: asdict(cost) for name, cost in costs.items()})
    return {name: MeasuredCost(**values) for name, values in read_json(file).items()}


def _announce(one: Comparison, tuned: Sequence[Screened], costs: Mapping[str, MeasuredCost]) -> None:
    steps, seeds = one.budget.steps, len(one.budget.seeds)
    seconds = sum(costs[each.candidate.variant].step_seconds for each in tuned) * steps * seeds
    names = ", ".join(each.candidate.name for each in tuned)
    say(
        f"fine-tuning {names}: {counted(len(tuned) * seeds, 'fit')} of {steps} steps, "
        f"about {max(1, round(seconds / 60))} min at the measured speed; finished fits are kept"
    )


def _predicted(one: Comparison, chosen: Sequence[Candidate]) -> pd.DataFrame:
    """Train what is not trained yet and return the predictions of validation and test images."""
    engine, question = one.setting.engine, one.question
    loader = view(one.data, question, ("val", "test"), one.budget.crop, engine)
    tables = []
    for candidate in chosen:
        specs = fits_of(candidate, one.data, question, one.name, one.budget, one.setting)
        run_plan(Plan(fits=specs), one.setting)
        for spec in specs:
            network, description = load_model(spec.weights)
            engine.place(network)
            rows = predicted_rows(
                network,
                description["heads"],
                loader,
                engine,
                study=STUDY,
                variant=spec.variant,
                condition=spec.condition,
                seed=spec.seed,
            )
            tables.append(rows[rows["output"] == question.positive] if question.positive else rows)
    file = one.results / "predictions.parquet"
    write_predictions(tables, file)
    return read_predictions(file)


def _track(one: Comparison, chosen: Sequence[Candidate], table: pd.DataFrame) -> None:
    """Add the test metrics to every run, and save the view that compares them."""
    card = scorecard(table, EvaluationConfig(threshold="half"))
    for candidate in chosen:
        entry = card["/".join((candidate.variant, candidate.condition, one.data.meta.name, "test"))]
        kind = "value" if one.question.task == "regression" else "probability"
        for seed in one.budget.seeds:
            values = seed_metrics(entry[kind], entry["seeds"].index(seed), kind=kind)
            fit = fitted(one.name, candidate.variant, candidate.condition, seed)
            with append(fit.records) as tracker:
                tracker.metrics({f"test/{name}": value for name, value in values.items()}, 0)
    metric = one.question.metric
    query = f"tags.comparison = '{one.name}'"
    link = save_view(STUDY, RunView(name="Candidates", query=query, group_by=FIT, metric=f"test/{metric}", columns=()))
    if link:
        say(f"compare in the tracker (make ui): {link}")
