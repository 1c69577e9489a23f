"""The page of an audit: both verdicts first, every number behind them, the rule, and what the audit cannot see."""

from collections.abc import Mapping, Sequence
from typing import Any

from medtransfer.reporting.content import Column, ReportContent, Table, TableCell

ABOUT = (
    "Two questions that are kept apart: does the data offer a shortcut, and does the model use one? A shortcut is "
    "whatever tells the label without showing the disease: the hospital, the border, letters burnt into the image."
)
RULE = (
    "A row is confounded where its interval is above {0:g} (an AUROC) or {2:g} (a difference), suspicious above {1:g} "
    "or {3:g}, no sign where it is below the first of these, and else cannot tell. The verdict is the worst sign; rows "
    "without a sign are not judged, because the disease itself can move them."
)
LIMITS = (
    "A marker over the lungs is seen only where annotations say where markers are.",
    "What a source does to the lungs themselves (contrast, noise) shows in the scores by source alone.",
    "No sign means that these tests see none on these images; it does not mean that the model is right.",
)
TITLES = {"data": "Does the data offer a shortcut?", "model": "Does the model use a shortcut?"}
GLOSSARY = {
    "confounded": "the shortcut alone tells most labels, or most of the score comes from it",
    "suspicious": "more than chance, less than confounded",
    "no sign": "the tests that could be made see nothing",
    "cannot tell": "too few images, or a test that this answer needs could not be made",
}


def audit_content(
    audits: Sequence[Mapping[str, Any]], *, title: str, limits: tuple[float, float, float, float], phantoms: bool
) -> ReportContent:
    """Return the page of one audit or several.

    Args:
        audits: entries of audit.json, one at least.
        title: of the page.
        limits: confounded and suspicious, of an AUROC and of a difference.
        phantoms: whether the images are drawn.
    """
    rule = RULE.format(*limits)
    tables = [_table(half, audit, number, rule) for number, audit in enumerate(audits) for half in TITLES]
    drawn = "Every image is a drawn phantom; none shows a patient." if phantoms else ""
    return ReportContent(
        title=title,
        about=ABOUT,
        origin=" ".join([*dict.fromkeys(map(_images, audits)), drawn]).strip(),
        phantoms=phantoms,
        headline=tuple(
            f"{_called(audit)}: " * (len(audits) > 1) + f"{TITLES[half]} {_sentence(audit[half])}"
            for audit in audits
            for half in TITLES
        ),
        champions=(),
        results=tuple(tables),
        figures=(),
        data=(),
        provenance=(_provenance(audits),),
        limits=LIMITS,
        glossary=GLOSSARY,
    )


def audit_sentence(audits: Sequence[Mapping[str, Any]]) -> str:
    """Return the verdicts on the candidates of a study in one sentence, for its report and the front page."""
    parts = [f"{_called(one)}: data {one['data']['verdict']}, model {one['model']['verdict']}" for one in audits]
    return f"Audit of shortcuts. {'; '.join(parts)}."


def audit_table(audits: Sequence[Mapping[str, Any]]) -> Table:
    """Return both verdicts of every candidate with their reasons."""
    names = ("Candidate", "Question", "Images", "The data offers a shortcut", "The model uses one")
    columns = tuple(Column(name, number=name == "Images") for name in names)
    rows = tuple(
        (
            TableCell(one["name"]),
            TableCell(one["positive"]),
            TableCell(f"{one['images']} of {one['dataset']}"),
            *(TableCell(one[half]["verdict"], one[half]["reason"]) for half in TITLES),
        )
        for one in audits
    )
    return Table(
        "audit", "Audit of shortcuts", ABOUT, columns, rows, (f"{LIMITS[-1]} All numbers: page of the audit.",)
    )


def _images(audit: Mapping[str, Any]) -> str:
    of_class = f"{audit['positives']} of them {audit['positive']}"
    return f"{audit['dataset']}: {audit['images']} images of {audit['patients']} patients, {of_class}."


def _called(audit: Mapping[str, Any]) -> str:
    return f"{audit['name']}, {audit['positive']}"


def _sentence(half: Mapping[str, Any]) -> str:
    verdict, reason = half["verdict"], half["reason"]
    return f"{reason[0].upper()}{reason[1:]}." if reason.startswith(verdict) else f"{verdict.capitalize()}: {reason}."


def _table(half: str, audit: Mapping[str, Any], number: int, rule: str) -> Table:
    names = {"Row": False, "Value": True, "Images": True, "Sign": False, "What it is": False}
    columns = tuple(Column(name, number=is_number) for name, is_number in names.items())
    rows = tuple(
        (
            TableCell(row["name"]),
            TableCell("—") if row["value"] is None else TableCell(f"{row['value']:.3f}", _bounds(row)),
            TableCell(str(row["images"]) if row["images"] else "—"),
            TableCell(row["sign"] or "—"),
            TableCell(row["about"], row["reason"]),
        )
        for row in audit[half]["rows"]
    )
    title = f"{_called(audit)}: {TITLES[half]}"
    if not rows:
        return Table(f"{half}-{number}", title, f"Nothing was tested. {_sentence(audit[half])}", columns, rows)
    return Table(f"{half}-{number}", title, rule, columns, rows, ("Intervals hold 95 % and are over patients.",))


def _bounds(row: Mapping[str, Any]) -> str:
    return "" if row["low"] is None else f"[{row['low']:.3f}, {row['high']:.3f}]"


def _provenance(audits: Sequence[Mapping[str, Any]]) -> Table:
    names = {"name": "Model", "weights": "SHA-256 of the weights", "dataset": "Images", "left_out": "Images left out"}
    facts = [
        (title, str(audit[key] if audit[key] is not None else "not known"))
        for audit in audits
        for key, title in names.items()
    ]
    rows = tuple((TableCell(title), TableCell(value)) for title, value in dict.fromkeys(facts))
    return Table("origin", "Models and images", "", (Column("What", number=False), Column("Value", number=False)), rows)
