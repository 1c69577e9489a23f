"""The files of a study's summary run: the report's page and its tables, which MLflow's pages show as they are."""

import csv
import shutil
from pathlib import Path

from medtransfer.reporting.content import ReportContent, Table


def write_summary_files(folder: Path, content: ReportContent, report: Path) -> None:
    """Write ``report.html``, ``results.md`` and one CSV file per table of results into a folder.

    Args:
        folder: an empty folder.
        content: content of the report.
        report: folder of the finished report.
    """
    shutil.copyfile(report / "index.html", folder / "report.html")
    shutil.copyfile(report / "results.md", folder / "results.md")
    (folder / "tables").mkdir()
    for table in content.results:
        _write(folder / "tables" / f"{table.key}.csv", table)


def _write(path: Path, table: Table) -> None:
    """Write a table; a cell's second line, such as the interval, follows its value."""
    names = [f"{column.group} {column.name}".strip() for column in table.columns]
    rows = [[" ".join(part for part in (cell.main, cell.detail) if part) for cell in row] for row in table.rows]
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([names, *rows])
