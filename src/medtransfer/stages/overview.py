"""``medtransfer overview``: one front page for all studies, from the summaries of their reports."""

from argparse import Namespace

from medtransfer import paths
from medtransfer.audit.record import read_audits, write_audits
from medtransfer.errors import DataError
from medtransfer.reporting.content import read_summary
from medtransfer.reporting.page import write_overview
from medtransfer.studies import STUDIES
from medtransfer.training.progress import console


def run(options: Namespace) -> None:
    """Write ``out/report/index.html`` and ``results.md``, and the audits of all studies as ``metrics/audit.json``.

    Raises:
        DataError: no study has a report.
    """
    del options
    files = [paths.report(study) / "content.json" for study in STUDIES]
    summaries = [read_summary(file.read_text(encoding="utf-8"), source=str(file)) for file in files if file.exists()]
    if not summaries:
        raise DataError(f"{paths.REPORT}: no study has a report; run: medtransfer report {STUDIES[0]}")
    write_overview(paths.REPORT, summaries)
    audits = [file for file in map(paths.audit, STUDIES) if file.exists()]
    write_audits(paths.AUDITS, [entry for file in audits for entry in read_audits(file)])
    console.print(f"reports: {paths.workspace() / paths.REPORT / 'index.html'}", markup=False, soft_wrap=True)
