"""Reports as self-contained HTML pages and as Markdown; text from data is always escaped."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from medtransfer.files import write_text
from medtransfer.reporting.content import Column, Figure, ReportContent, Summary, Table, TableCell
from medtransfer.reporting.drawing import standalone
from medtransfer.reporting.formatting import GLOSSARY
from medtransfer.reporting.tables import badged, shown

_HERE = Path(__file__).parent
_TERMS = "<!-- terms -->"
FRONT = "Which pretrained knowledge transfers?"
_ABOUT = "One study per published paper, all built from the same parts. Each page has tables, figures, runs and limits."


def write_report(folder: Path, content: ReportContent) -> None:
    """Write ``index.html``, ``results.md`` and every drawing as ``figures/<key>.svg``, each atomically.

    Figures that hold images, possibly of patients, are only in the page.
    """
    write_text(folder / "index.html", render_html(content))
    write_text(folder / "results.md", render_markdown(content))
    for figure in _drawings(content):
        write_drawing(folder / _file(figure), figure)


def write_drawing(path: Path, figure: Figure) -> None:
    """Write a drawn figure as an SVG file with the colours of the page, atomically."""
    write_text(path, standalone(figure.svg, _style()))


def write_overview(folder: Path, studies: Sequence[Summary]) -> None:
    """Write the front page of all studies, ``index.html`` and ``results.md``, each atomically."""
    terms = {term: meaning for study in studies for term, meaning in study.glossary.items()}
    write_text(folder / "index.html", render("overview.html", terms, title=FRONT, about=_ABOUT, studies=studies))
    lines = [f"# {FRONT}", "", _ABOUT, ""]
    for study in studies:
        lines += [f"## {_plain(study.title)}", "", f"**{_plain(study.origin)}**", ""]
        lines += [line for sentence in study.headline for line in (_plain(sentence), "")]
        lines += [f"All tables: [{study.study}/results.md]({study.study}/results.md)", "", *_markdown_table(study.lead)]
    write_text(folder / "results.md", "\n".join(lines))


def render_html(content: ReportContent) -> str:
    """Return the HTML page: styles, figures and the one script, which sorts tables, are inline; it loads nothing."""
    return render("page.html", content.glossary, report=content)


def render_markdown(content: ReportContent) -> str:
    """Return the page as Markdown: its tables, and links to the drawings that ``write_report`` writes."""
    lines = [f"# {_plain(content.title)}", "", _plain(content.about), "", f"**{_plain(content.origin)}**", ""]
    lines += [line for sentence in content.headline for line in (_plain(sentence), "")]
    lines += ["## Champion", ""] if content.champions else []
    for champion in content.champions:
        lines += [*(f"- {_plain(name)}: {_cell(value)}" for name, value in champion), ""]
    lines += ["## Results", "", *(line for table in content.results for line in _markdown_table(table))]
    if drawings := _drawings(content):
        lines += ["## Figures", "", *(line for figure in drawings for line in _markdown_figure(figure))]
    for title, tables in (("Data", content.data), ("Provenance", content.provenance)):
        lines += [f"## {title}", "", *(line for table in tables for line in _markdown_table(table))]
    lines += ["## Limits", "", *(f"- {_plain(limit)}" for limit in content.limits), ""]
    lines += [f"[{_plain(title)}]({address})\n" for title, address in content.links]
    return "\n".join(lines)


def render(template: str, glossary: Mapping[str, str], **values: Any) -> str:
    """Return a filled-in template of this folder; ``glossary`` is added to the shared terms."""
    from markupsafe import Markup

    environment = _environment(GLOSSARY | dict(glossary))
    script = _text("page.js")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    frame = {"style": Markup(_style()), "script": Markup(script), "allowed": allowed}
    body = str(environment.get_template(template).render(frame=frame, **values))
    used = {term: meaning for term, meaning in (GLOSSARY | dict(glossary)).items() if f">{term}</abbr>" in body}
    return body.replace(_TERMS, str(environment.get_template("terms.html").render(terms=used)))


def _style() -> str:
    return _text("page.css")


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _drawings(content: ReportContent) -> list[Figure]:
    return [figure for figure in content.figures if figure.drawn]


def _file(figure: Figure) -> str:
    return f"figures/{figure.key}.svg"


def _environment(glossary: Mapping[str, str]) -> Any:
    import jinja2

    loader = jinja2.FileSystemLoader(_HERE)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    explained = partial(_explained, glossary, _terms(glossary))
    environment.filters |= {"explained": explained, "drawn": _drawn, "shown": shown, "badged": badged}
    environment.globals |= {"groups": _groups}
    return environment


def _terms(glossary: Mapping[str, str]) -> re.Pattern[str]:
    longest_first = sorted(glossary, key=len, reverse=True)
    return re.compile("|".join(rf"(?<![\w-]){re.escape(term)}(?![\w-])" for term in longest_first))


def _explained(glossary: Mapping[str, str], terms: re.Pattern[str], text: str) -> Any:
    """Escape a text and explain its glossary terms on hovering."""
    from markupsafe import Markup, escape

    def abbreviation(match: re.Match[str]) -> str:
        return f'<abbr title="{escape(glossary[match[0]])}">{escape(match[0])}</abbr>'

    return Markup(terms.sub(abbreviation, str(escape(text))))


def _drawn(svg: str) -> Any:
    """Mark a figure of ``figures`` as markup; matplotlib has escaped its labels."""
    from markupsafe import Markup

    return Markup(svg)


def _groups(columns: tuple[Column, ...]) -> list[tuple[str, int]]:
    """Return the runs of neighbouring columns with the same group name, as (name, count)."""
    runs: list[tuple[str, int]] = []
    for column in columns:
        if runs and runs[-1][0] == column.group:
            runs[-1] = (column.group, runs[-1][1] + 1)
        else:
            runs.append((column.group, 1))
    return runs


def _markdown_table(table: Table) -> list[str]:
    table = shown(table)
    heads = [" ".join(part for part in (column.group, column.name) if part) for column in table.columns]
    marks = ["---:" if column.number else "---" for column in table.columns]
    rows = [[_cell(value) for value in row] for row in table.rows]
    lines = [f"| {' | '.join(cells)} |" for cells in ([_plain(head) for head in heads], marks, *rows)]
    notes = [line for note in table.notes for line in (_plain(note), "")]
    return [
        f"### {_plain(table.title)}",
        "",
        _plain(table.intro),
        "",
        *(lines if rows else ["nothing to show"]),
        "",
        *notes,
    ]


def _markdown_figure(figure: Figure) -> list[str]:
    title = _plain(figure.title)
    return [f"### {title}", "", f"![{title}]({_file(figure)})", "", _plain(figure.caption), ""]


def _cell(value: TableCell) -> str:
    detail = value.detail if value.detail.startswith("[") or not value.detail else f"({value.detail})"
    return " ".join(_plain(part) for part in (value.main, detail) if part)


def _plain(text: str) -> str:
    """Return a text escaped for Markdown, on one line."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*|\[\]])", r"\\\1", " ".join(text.split()))
