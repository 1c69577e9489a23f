"""What every study's report gets beside its own content: the verdicts of its audit, and its gallery with scores."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from medtransfer import paths
from medtransfer.audit.record import read_audits
from medtransfer.explain.explainers import TITLES
from medtransfer.files import read_json
from medtransfer.paths import FitPaths
from medtransfer.reporting.audit import audit_sentence, audit_table
from medtransfer.reporting.content import ReportContent
from medtransfer.reporting.gallery import failed_tests, score_table, write_gallery_page
from medtransfer.tracking.describing import Place, places_of_runs
from medtransfer.tracking.mlflow_tracker import append, read_run


def with_audit(content: ReportContent, study: str) -> ReportContent:
    """Return a report with the verdicts of the study's audit, in the answer too; it says so where there is none."""
    if not paths.audit(study).exists():
        missing = f"Audit of shortcuts: not made; run: medtransfer audit {study}"
        return replace(content, limits=(*content.limits, missing))
    audits = read_audits(paths.audit(study))
    if not audits:
        return content
    return replace(
        content,
        headline=(*content.headline, audit_sentence(audits)),
        results=(*content.results, audit_table(audits)),
        links=(*content.links, ("Audit", f"../{paths.audit_report(study).name}/index.html")),
    )


def with_gallery(content: ReportContent, study: str, folder: Path) -> ReportContent:
    """Return a report with the scores of its maps, and write the gallery's page below ``folder``.

    A study without gallery keeps its content. The sheets become artefacts of the networks' runs.
    """
    source = paths.explanations(study) / "gallery"
    if not (source / "gallery.json").exists():
        return content
    facts = read_json(source / "gallery.json")
    origin, phantoms = content.origin, content.phantoms
    _track(source, facts)
    runs = _places(study, facts)
    write_gallery_page(folder / "gallery", source, facts, runs, titles=TITLES, origin=origin, phantoms=phantoms)
    failed = failed_tests(facts, TITLES)
    return replace(
        content,
        results=(*content.results, score_table(facts, TITLES)),
        limits=(*content.limits, *failed),
        links=(*content.links, ("Gallery of maps", "gallery/index.html")),
    )


def _places(study: str, facts: dict[str, Any]) -> list[Place]:
    """Return the run of each network; a store that is down gives no address."""
    places = places_of_runs(study)
    records = [read_run(FitPaths(**network["fit"]).records) for network in facts["networks"]]
    return [places.get(one["run_key"]) or Place(one["run_id"] or "", "") for one in records]


def _track(source: Path, facts: dict[str, Any]) -> None:
    for network in facts["networks"]:
        with append(FitPaths(**network["fit"]).records) as tracker:
            for sheet in network["sheets"].values():
                tracker.file(source / sheet, "explanations")
