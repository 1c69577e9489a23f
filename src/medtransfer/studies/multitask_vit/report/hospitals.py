"""Severity on hospitals that were held out in turn, beside the network that was trained on all of them."""

import pandas as pd

from medtransfer.data.manifest import ZONES, names_no_hospital
from medtransfer.evaluation.cells import Cell, measure
from medtransfer.evaluation.summary import brief
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import MISSING, READING, estimate, labels
from medtransfer.studies.multitask_vit import study
from medtransfer.studies.multitask_vit.report.results import METRICS, NOT_AVAILABLE, Results

COLUMNS = (("mse", "MSE"), ("mae", "MAE"), ("pearson", "CC"), ("r2", "R²"))
FEWEST = 2
_HEAD = (
    *labels("Network", "Hospital held out"),
    Column("Images"),
    *(Column(title, "Severity score 0–6") for _, title in COLUMNS),
)


def rotation_table(found: Results) -> Table:
    """Return every rotated network on each hospital without which it was trained; *not available* below two.

    Without rows where the parameters hold no hospital out.
    """
    rotation = found.config.hospitals
    counted = scored(found)
    usable = {
        name: source for name, source in rotation.held_out.items() if counted.get(source, 0) >= rotation.least_images
    }
    rows = [_row(variant, name, source, found) for variant in rotation.variants for name, source in usable.items()]
    if rotation.held_out and (len(usable) < FEWEST or not rows):
        rows = [(TableCell("fewer than two usable hospitals"), TableCell(""), *(NOT_AVAILABLE for _ in _HEAD[2:]))]
    intro = (
        "As in the paper, one hospital at a time is left out of training and validation, and all of its scored images "
        f"are graded. A hospital is usable with at least {rotation.least_images} scored images. {READING}"
    )
    return Table("rotation", "Severity on hospitals held out", intro, _HEAD, tuple(rows), _notes(found, counted))


def scored(found: Results) -> dict[str, int]:
    """Return the number of images with six known zones by ``source``, those of all splits."""
    manifest = found.manifests.get(found.config.finetune.zones.dataset)
    if manifest is None:
        return {}
    known = manifest[manifest[list(ZONES)].notna().all(axis=1)]
    return {str(name): len(rows) for name, rows in known.groupby("source")}


def _notes(found: Results, counted: dict[str, int]) -> tuple[str, ...]:
    least, used = found.config.hospitals.least_images, set(found.config.hospitals.held_out.values())
    unnamed = sum(count for name, count in counted.items() if names_no_hospital(name, counted))
    named = {name: count for name, count in counted.items() if not names_no_hospital(name, counted)}
    small = {name: count for name, count in named.items() if count < least}
    large = [name for name, count in named.items() if count >= least and name not in used]
    notes = [f"{unnamed} scored images name no hospital and are held out with none."] if unnamed else []
    if small:
        notes.append(f"{len(small)} hospitals with {sum(small.values())} scored images have fewer than {least} each.")
    if large:
        notes.append(f"Not held out by these parameters: {', '.join(sorted(large))}.")
    return tuple(notes)


def _row(variant: str, name: str, source: str, found: Results) -> tuple[TableCell, ...]:
    condition = f"{study.WITHOUT}{name}"
    cell = _cell(
        found.rotated[(found.rotated["variant"] == variant) & (found.rotated["condition"] == condition)], found
    )
    if cell is None:
        return (TableCell(variant), TableCell(source), *(MISSING for _ in _HEAD[2:]))
    numbers = (estimate(brief(cell.samples[metric])) for metric, _ in COLUMNS)
    return (TableCell(variant), TableCell(source), TableCell(str(len(cell.images))), *numbers)


def _cell(rows: pd.DataFrame, found: Results) -> Cell | None:
    if rows.empty:
        return None
    return next(iter(measure(rows, found.evaluation, splits=("test",), metrics=METRICS)), None)
