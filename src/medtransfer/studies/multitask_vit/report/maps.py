"""What the explain stage found: the panel of maps, and how well the maps agree with lungs and lesions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtransfer.files import read_json
from medtransfer.reporting.content import Column, Figure, Table, TableCell
from medtransfer.reporting.formatting import labels, number
from medtransfer.reporting.images import embedded

PANEL = "maps.png"
SCORES = {"pointing": "Pointing", "overlap": "Overlap", "energy": "Share inside"}


def read_facts(folder: Path) -> dict[str, Any]:
    """Return the content of ``explanations.json``; nothing where the maps were not made."""
    file = folder / "explanations.json"
    return dict(read_json(file)) if file.exists() else {}


def maps_figure(folder: Path, facts: Mapping[str, Any], *, phantoms: bool) -> tuple[Figure, ...]:
    """Return the panel of maps, for drawn images alone: those of patients stay in the folder."""
    if not facts or not phantoms:
        return ()
    caption = (
        f"{facts['variant']}, seed {facts['seed']}: {len(facts['shown'])} test images of {facts['dataset']}, the first "
        f"by image id; below them relevance of {facts['output'] or 'no class'} and "
        "the severity map with its contour at 0.5 (blue); white: lesions as drawn."
    )
    return (Figure("maps", "Where the evidence and the lesions are", caption, _image(folder / PANEL, caption)),)


def agreement_table(facts: Mapping[str, Any]) -> tuple[Table, ...]:
    """Return pointing, overlap and share inside of every map against lesions and lungs; nothing without maps."""
    if not facts:
        return ()
    rows = tuple(_row(row) for row in facts["scores"] or ())
    if not rows:
        rows = ((TableCell("not applicable: no test image has a lung mask"), *(TableCell("—"),) * (2 + len(SCORES))),)
    intro = (
        f"{facts['variant']}, seed {facts['seed']}, test images of {facts['dataset']} with a mask file that shows the "
        "region. Pointing: share of images whose hottest pixel is inside; overlap: intersection ÷ union of the region "
        "and as many of the hottest pixels; share inside: of the heat. The number below "
        "is the share of the image that the region covers, which chance reaches. The severity map is 0 outside the "
        "lungs by construction."
    )
    columns = (*labels("Map", "Region"), Column("Images"), *map(Column, SCORES.values()))
    note = f"The panel is {PANEL} in the study's results/explanations; it shows real patients where the images do."
    return (Table("map-scores", "Severity and relevance maps scored", intro, columns, rows, (note,)),)


def _row(row: Mapping[str, Any]) -> tuple[TableCell, ...]:
    chance = f"chance {number(row['area'], digits=2)}" if row["area"] is not None else ""
    cells = [TableCell(number(row[name], digits=2), "" if name == "overlap" else chance) for name in SCORES]
    return (TableCell(row["map"]), TableCell(row["region"]), TableCell(str(row["images"])), *cells)


def _image(file: Path, caption: str) -> str:
    return embedded(file.read_bytes(), caption)
