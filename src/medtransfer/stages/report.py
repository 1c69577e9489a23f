"""``medtransfer report STUDY``: reproduce the paper's tables with its values and ours, as a page and as Markdown."""

import tempfile
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

from medtransfer import paths
from medtransfer.data.packed import PackedDataset
from medtransfer.evaluation.indifferent import indifferent
from medtransfer.evaluation.predictions import read_predictions
from medtransfer.files import read_json, write_text
from medtransfer.params import Params, load_params
from medtransfer.reporting.candidate import data_facts
from medtransfer.reporting.content import Table, summary_json, summary_of
from medtransfer.reporting.input import ReportInput
from medtransfer.reporting.notes import experiment_note
from medtransfer.reporting.origin import Origin
from medtransfer.reporting.page import write_report
from medtransfer.reporting.summary_files import write_summary_files
from medtransfer.stages.attachments import with_audit, with_gallery
from medtransfer.studies import VERBS, module
from medtransfer.tracking.describing import describe_experiment, write_summary
from medtransfer.training.progress import console
from medtransfer.tuning.notes import notes_in, tuned_table


def run(options: Namespace) -> None:
    """Write ``index.html``, ``results.md`` and, for the front page, ``content.json`` below ``out/report/<study>``."""
    params, study = load_params(), options.study
    config, results, folder = params.study(study), paths.results(study), paths.report(study)
    source = ReportInput(
        folder=paths.study_folder(study),
        predictions=read_predictions(results / "predictions.parquet"),
        origin=origin(params, module(study, "study").datasets(config)),
        champions=read_json(results / "champions.json", list),
        config=config,
        evaluation=params.evaluation,
        profile=params.profile,
    )
    content = module(study, VERBS["report"]).build(source)
    if tuned := _tuned(params, study):
        content = replace(content, provenance=(tuned, *content.provenance))
    fits = {(model.variant, model.condition) for model in module(study, VERBS["score"]).fitted(config)}
    content = replace(content, limits=(*indifferent(source.predictions, fits), *content.limits))
    content = with_gallery(with_audit(content, study), study, folder)
    write_report(folder, content)
    write_text(folder / "content.json", summary_json(summary_of(study, content)))
    paper, view = module(study, "study").PAPER, module(study, VERBS["score"]).comparison(config)
    note = experiment_note(study, paper, source.origin.datasets, content.headline)
    describe_experiment(study, note, view.metric)
    with tempfile.TemporaryDirectory() as temporary:
        write_summary_files(Path(temporary), content, folder)
        write_summary(study, note, {"paper": paper, "profile": params.profile}, Path(temporary))
    console.print(f"report: {paths.workspace() / folder / 'index.html'}", markup=False, soft_wrap=True)


def _tuned(params: Params, study: str) -> Table | None:
    """Return which of the study's parameters a search chose, as the notes in params.yaml say."""
    text = (paths.workspace() / paths.PARAMS).read_text(encoding="utf-8")
    keys = {name: [*search.space] for name, search in params.tuning.items() if search.study == study}
    return tuned_table(notes_in(text), keys)


def origin(params: Params, names: tuple[str, ...]) -> Origin:
    """Return what a page says about some data sets."""
    return Origin({name: _dataset(params, name) for name in names}, gate=read_json(paths.GATE_REPORT))


def _dataset(params: Params, name: str) -> dict[str, Any]:
    """Return what a report shows of a data set, with the day of a chronological split."""
    data, settings = PackedDataset.open(paths.dataset(name), arrays=False), params.dataset(name)
    facts = data_facts(data.meta.model_dump(mode="json"), data.manifest, phantoms=settings.phantoms)
    return facts | {"until": settings.split.until}
