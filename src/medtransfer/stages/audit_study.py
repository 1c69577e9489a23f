"""Audit of a study's candidates: the winner of every contest, before it is registered."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medtransfer import paths
from medtransfer.audit.offered import offered
from medtransfer.audit.record import audit_entry, write_audits
from medtransfer.audit.used import used
from medtransfer.audit.verdicts import AUROC, DIFFERENCE
from medtransfer.evaluation.scorecard import best_fit
from medtransfer.files import read_sealed
from medtransfer.models.weights import load_model
from medtransfer.params import Params, load_params
from medtransfer.reporting.audit import audit_content
from medtransfer.reporting.page import write_report
from medtransfer.studies import VERBS, module
from medtransfer.studies.base import Contest, FittedModel
from medtransfer.training.auditing import cases_of, network_model, questions
from medtransfer.training.engine import Engine
from medtransfer.training.loading import open_dataset
from medtransfer.training.progress import console


def audit_study(study: str) -> None:
    """Write ``results/audit.json`` of a study and the page ``out/report/audit-<study>``."""
    params = load_params()
    config, predictions = params.study(study), module(study, VERBS["audit"])
    card = read_sealed(paths.metrics(study))
    models = {(model.variant, model.condition, model.seed): model for model in predictions.fitted(config)}
    entries: list[dict[str, Any]] = []
    drawn: list[bool] = []
    for contest in predictions.contests(config):
        best = best_fit(card, contest.fits, dataset=contest.dataset, metric=contest.metric)
        entries += _audits(contest, models[best["variant"], best["condition"], best["seed"]], params)
        drawn.append(params.dataset(contest.dataset).phantoms)
    write_audits(paths.audit(study), entries)
    title = f"Audit of the candidates of {study}"
    write_audit_page(paths.audit_report(study), entries, title=title, phantoms=all(drawn))


def _audits(contest: Contest, model: FittedModel, params: Params) -> Iterator[dict[str, Any]]:
    """Yield an audit of a contest's winner on the test images for each of its questions."""
    network, description = load_model(model.weights)
    data, engine = open_dataset(contest.dataset), Engine(params.hardware.model_copy(update={"precision": "fp32"}))
    heads, prepared, held = description["heads"], description["preprocessing"], data.rows("test")
    for positive in questions(heads, description["extra"]):
        cases, rows = cases_of(data, held, positive=positive, crop=prepared["crop"])
        called = network_model(network, heads, prepared, engine, positive)
        yield audit_entry(
            offered(cases),
            used(cases, called(cases.images), called),
            cases,
            name=f"{contest.model} · {model.variant} · {model.condition} · seed {model.seed}",
            weights=description["sha256"],
            dataset=contest.dataset,
            positive=positive,
            left_out=len(held) - len(rows),
        )


def write_audit_page(folder: Path, entries: Sequence[dict[str, Any]], *, title: str, phantoms: bool) -> None:
    """Write the page of audits and print their verdicts."""
    limits = AUROC.confounded, AUROC.suspicious, DIFFERENCE.confounded, DIFFERENCE.suspicious
    write_report(folder, audit_content(entries, title=title, limits=limits, phantoms=phantoms))
    for entry in entries:
        for half in ("data", "model"):
            verdict = f"{entry[half]['verdict']} ({entry[half]['reason']})"
            console.print(f"{entry['name']}, {entry['positive']}: {half}: {verdict}", markup=False, soft_wrap=True)
    console.print(f"page: {paths.workspace() / folder / 'index.html'}", markup=False, soft_wrap=True)
