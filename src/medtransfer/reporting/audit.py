"""The page of an audit: both verdicts first, every number behind them, the rule, and what the audit cannot see."""

from collections.abc import Mapping
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
    audit: Mapping[str, Any], *, limits: tuple[float, float, float, float], phantoms: bool
) -> ReportContent:
    """Return the page of one audit.

    Args:
        audit: one entry of audit.json.
        limits: confounded and suspicious, of an AUROC and of a difference.
        phantoms: whether the images are drawn.
    """
    facts = (
        f"{audit['images']} images of {audit['patients']} patients, {audit['positives']} of them {audit['positive']}"
    )
    return ReportContent(
        title=f"Audit of {audit['name']} on {audit['dataset']}",
        about=ABOUT,
        origin=f"{facts}." + (" Every image is a drawn phantom; none shows a patient." if phantoms else ""),
        phantoms=phantoms,
        headline=tuple(f"{TITLES[half]} {_sentence(audit[half])}" for half in TITLES),
        champions=(),
        results=tuple(_table(half, audit[half], RULE.format(*limits)) for half in TITLES),
        figures=(),
        data=(),
        provenance=(_provenance(audit),),
        limits=LIMITS,
        glossary=GLOSSARY,
    )


def _sentence(half: Mapping[str, Any]) -> str:
    verdict, reason = half["verdict"], half["reason"]
    return f"{reason[0].upper()}{reason[1:]}." if reason.startswith(verdict) else f"{verdict.capitalize()}: {reason}."


def _table(half: str, content: Mapping[str, Any], rule: str) -> Table:
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
        for row in content["rows"]
    )
    return Table(half, TITLES[half], rule, columns, rows, ("Intervals hold 95 % and are over patients.",))


def _bounds(row: Mapping[str, Any]) -> str:
    return "" if row["low"] is None else f"[{row['low']:.3f}, {row['high']:.3f}]"


def _provenance(audit: Mapping[str, Any]) -> Table:
    names = {"name": "Model", "weights": "SHA-256 of the weights", "dataset": "Images", "left_out": "Images left out"}
    rows = tuple((TableCell(title), TableCell(str(audit[key] or "not known"))) for key, title in names.items())
    return Table("origin", "Model and images", "", (Column("What", number=False), Column("Value", number=False)), rows)
