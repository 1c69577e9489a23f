"""The severity score 0–6 of every network, and how far two readers of the same images disagree."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from medtransfer.data.lungs import FILE, SEGMENTER, WHOLE
from medtransfer.data.manifest import ZONES
from medtransfer.evaluation.cells import Cell
from medtransfer.evaluation.intervals import Interval
from medtransfer.evaluation.severity import severity_card
from medtransfer.evaluation.summary import brief
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import MISSING, READING, estimate, interval, labels, number
from medtransfer.studies.multitask_vit.report.results import NOT_AVAILABLE, Results

COLUMNS = {"mse": "MSE", "mae": "MAE", "pearson": "CC", "r2": "R²"}
ORIGINS = {FILE: "from files", SEGMENTER: "from the segmenter", WHOLE: "of the whole image"}
READERS = "Readers: the data set has one reader's scores alone, so that their disagreement is not available."


def severity_table(found: Results) -> Table:
    """Return each network's error of the score, and below it that of other readers against the one who counts."""
    cells = found.of("value")
    rows = [(TableCell(cell.variant), *(estimate(brief(cell.samples[name])) for name in COLUMNS)) for cell in cells]
    readers = _readers(cells[0], found) if cells else {}
    rows += [(TableCell(f"reader: {name}"), *(_bounded(card[of]) for of in COLUMNS)) for name, card in readers.items()]
    if cells and not readers:
        rows.append((TableCell("second reader"), *(NOT_AVAILABLE for _ in COLUMNS)))
    intro = (
        "The score counts the zones with a severity of at least 0.5; a reader's counts those with a score above 0. "
        f"A reader's row is against the reader who counts, on the test images that both scored. {READING}"
    )
    columns = (*labels("Network"), *(Column(title, "Severity score 0–6") for title in COLUMNS.values()))
    return Table("severity", "Severity", intro, columns, tuple(rows), () if readers else (READERS,))


def masks_table(found: Results, lungs: Mapping[str, Mapping[str, int]]) -> Table:
    """Return each network's error on test images with and without a lung mask of their own.

    Args:
        found: the measured predictions.
        lungs: of the main network, by split how many graded images have lungs by origin; empty where not counted.
    """
    cells = found.of("value")
    manifest = found.manifests.get(cells[0].dataset) if cells else None
    rows: list[tuple[TableCell, ...]] = []
    if manifest is not None:
        masked = set(manifest.loc[manifest["mask_row"] >= 0, "image_id"])
        groups = {"with a mask": found.table["image_id"].isin(masked)}
        groups["without one"] = ~groups["with a mask"]
        for name, mine in groups.items():
            of = {cell.variant: found.among(mine, cell.variant).get("value") for cell in cells}
            rows += [_masked_row(variant, name, cell) for variant, cell in of.items() if cell]
    intro = f"A mask is a file of the data set. {_without(found.config.finetune.segmenter)} {READING}"
    columns = (*labels("Network", "Test images"), Column("Images"))
    return Table(
        "masks",
        "Severity with and without lung masks",
        intro,
        (*columns, *(Column(title, "Severity score 0–6") for title in COLUMNS.values())),
        tuple(rows),
        _warnings(found.main, lungs),
    )


def _without(segmenter: str) -> str:
    if not segmenter:
        return "The whole image counts as lung where there is none."
    return f"Where there is none the segmenter {segmenter} finds the lungs, else the whole image counts as lung."


def _warnings(main: str, lungs: Mapping[str, Mapping[str, int]]) -> tuple[str, ...]:
    """Say by split where the lungs of graded images are from, and warn where they are the whole image."""
    counts = [
        f"{split} {', '.join(f'{count} {ORIGINS[origin]}' for origin, count in by_origin.items())}"
        for split, by_origin in lungs.items()
    ]
    whole = sum(by_origin[WHOLE] for by_origin in lungs.values())
    warning = f"Warning: of {whole} graded images the whole counts as lung: their zones reach outside the lungs."
    return (*([f"Lung masks of {main}: {'; '.join(counts)}."] if counts else []), *([warning] if whole else []))


def _masked_row(variant: str, name: str, cell: Cell) -> tuple[TableCell, ...]:
    numbers = (estimate(brief(cell.samples[metric])) for metric in COLUMNS)
    return (TableCell(variant), TableCell(name), TableCell(str(len(cell.images))), *numbers)


def reader_scores(manifest: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the score 0–6 of each reader by image id, from the columns ``v_<reader>_0`` … ``5`` (zones above 0).

    Images of which a zone is not known are left out.
    """
    zones = range(len(ZONES))
    names = [column.removeprefix("v_").removesuffix("_0") for column in manifest if column.startswith("v_")]
    found = {}
    for name in dict.fromkeys(names):
        columns = [f"v_{name}_{place}" for place in zones]
        if set(columns) <= set(manifest):
            known = manifest.set_index("image_id")[columns].dropna()
            found[name] = (known > 0).sum(axis=1).astype(float)
    return found


def _readers(cell: Cell, found: Results) -> dict[str, dict[str, Interval]]:
    """Return the card of every reader who is not the one that the test targets are of."""
    target = pd.Series(cell.target[:, 0], cell.images).dropna()
    patients = pd.Series(cell.patients, cell.images)
    manifest = found.manifests.get(cell.dataset)
    cards = {}
    for name, score in ({} if manifest is None else reader_scores(manifest)).items():
        both = [image for image in target.index if image in score.index]
        if both and not np.array_equal(score[both], target[both]):
            cards[name] = dict(severity_card(target[both], score[both], patients[both], draws=found.evaluation.draws))
    return cards


def _bounded(one: Interval) -> TableCell:
    if np.isnan(one.value):
        return MISSING
    return TableCell(number(one.value), interval(one.low, one.high), one.reason)
