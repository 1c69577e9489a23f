"""The content of a report, independent of its layout; the page and the Markdown file are two views of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from medtransfer.errors import DataError


@dataclass(frozen=True)
class TableCell:
    """A cell of a table: its text, a second smaller line, and a longer text that appears on hovering."""

    main: str
    detail: str = ""
    hover: str = ""


@dataclass(frozen=True)
class Column:
    """A column: its name and the name of the group of neighbouring columns it belongs to."""

    name: str
    group: str = ""
    number: bool = True


@dataclass(frozen=True)
class Table:
    """A table with an anchor (``key``), a title, a sentence before it and notes below it."""

    key: str
    title: str
    intro: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    notes: tuple[str, ...] = ()
    folded: bool = False
    """Whether the page shows the title alone until a reader opens the table."""


@dataclass(frozen=True)
class Figure:
    """A figure of the page and its caption.

    ``svg`` is an SVG element whose colours are CSS variables, or an image inside the page.
    """

    key: str
    title: str
    caption: str
    svg: str

    @property
    def drawn(self) -> bool:
        """Whether it is a drawing; everything else may hold images of patients."""
        return self.svg.startswith("<svg")


@dataclass(frozen=True)
class ReportContent:
    """Everything in the report, in reading order."""

    title: str
    about: str
    origin: str
    """In plain words: which profile, and whether the images are real or drawn phantoms."""
    phantoms: bool
    headline: tuple[str, ...]
    champions: tuple[tuple[tuple[str, TableCell], ...], ...]
    """The facts about every registered model; empty if there is none."""
    results: tuple[Table, ...]
    """The first leads the study on the front page."""
    figures: tuple[Figure, ...]
    """The first that is a drawing is beside the answer, here and on the front page."""
    data: tuple[Table, ...]
    provenance: tuple[Table, ...]
    limits: tuple[str, ...]
    glossary: Mapping[str, str] = field(default_factory=dict)
    """The study's own terms; the page explains them on hovering, like the shared ones."""
    links: tuple[tuple[str, str], ...] = ()
    """Further pages: title and address relative to this one."""
    home: str = "../index.html"
    """Where the front page of all studies is; empty for a page that belongs to none."""

    @property
    def lead(self) -> Figure | None:
        """The drawing beside the answer; None = there is none."""
        return next((figure for figure in self.figures if figure.drawn), None)


@dataclass(frozen=True)
class Summary:
    """What the front page shows about one study."""

    study: str
    title: str
    origin: str
    phantoms: bool
    headline: tuple[str, ...]
    lead: Table
    glossary: dict[str, str] = field(default_factory=dict)
    figure: Figure | None = None


def summary_of(study: str, content: ReportContent) -> Summary:
    """Return what the front page shows about a study."""
    return Summary(
        study=study,
        title=content.title,
        origin=content.origin,
        phantoms=content.phantoms,
        headline=content.headline,
        lead=content.results[0],
        glossary=dict(content.glossary),
        figure=content.lead,
    )


def summary_json(summary: Summary) -> str:
    """Return a summary as JSON."""
    return TypeAdapter(Summary).dump_json(summary, indent=1).decode() + "\n"


def read_summary(text: str, *, source: str) -> Summary:
    """Read the JSON of :func:`summary_json`; ``source`` names it in the error.

    Raises:
        DataError: it is not the JSON of a summary.
    """
    try:
        return TypeAdapter(Summary).validate_json(text)
    except ValidationError as error:
        raise DataError(
            f"{source}: not the summary that a report writes for the front page; write that study's report again"
        ) from error
