"""The paper's Table 1 beside ours, the tried augmentations, and where the evidence is."""

import numpy as np

from medtransfer.evaluation.cells import Cell
from medtransfer.evaluation.summary import brief
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import MISSING, NOT_PRINTED, READING, estimate, image_count, labels, number
from medtransfer.studies.visual_transfer import study
from medtransfer.studies.visual_transfer.claims import key
from medtransfer.studies.visual_transfer.floors import FEATURES, THUMBNAIL
from medtransfer.studies.visual_transfer.paper.values import TITLES, table1
from medtransfer.studies.visual_transfer.report.results import MEAN, METRICS, Results
from medtransfer.studies.visual_transfer.titles import column_title

EXPLAINER_TITLES = {"grad_cam": "Grad-CAM", "saliency": "saliency"}


def columns_table(found: Results) -> Table:
    """Return Table 1: what each column is, the paper's values and ours; the floors below."""
    rows = [(*_described(found, name), *_printed(found, name), *_ours(found, name)) for name in found.config.columns]
    floor = found.config.bases[found.config.floor].network if found.config.floor else ""
    names = {THUMBNAIL: "32 × 32 thumbnail", FEATURES: f"frozen features of {floor}"}
    rows += [
        (
            TableCell("floor"),
            TableCell(title),
            TableCell("logistic regression"),
            MISSING,
            *[MISSING] * 4,
            *_ours(found, name),
        )
        for name, title in names.items()
        if key(name) in found.cells["test"]
    ]
    printed = (Column(name, "paper") for name in ("AUC", "batch", "epochs", "steps per epoch"))
    ours = (Column("AUROC, validation", "ours"), Column("AUROC, test", "ours"), Column("AUPRC, test", "ours"))
    cell = next(iter(found.cells["test"].values()))
    return Table(
        "table1",
        "Table 1 · Columns of the paper, and ours",
        f"The paper prints the AUC on its validation images; ours are chosen on validation images and tested on "
        f"others, {image_count(cell)}. {READING}",
        (*labels("Column", "Network", "Weights", "Augmentation"), *printed, *ours),
        tuple(rows),
        ("Floors are no network of the study: what they reach needs neither training of one nor detail.",),
    )


def tried_table(found: Results) -> Table | None:
    """Return the search of augmentations: the benchmark CNN with each alone; none where none was tried."""
    config = found.config
    if not config.tried:
        return None
    rows = []
    for name in config.tried:
        recipe = config.augmentations[name].model_dump(exclude_defaults=True)
        said = ", ".join(f"{key}={value}" for key, value in recipe.items()) or "nothing changes"
        cells = (_estimate(found, split, f"{study.TRIED}{name}", "auroc") for split in ("val", "test"))
        rows.append((TableCell(name.replace("_", " ")), TableCell(said), *cells))
    return Table(
        "augmentations",
        "Augmentations of the benchmark CNN, each alone",
        f"The paper chose by validation AUC and prints no number of this search. {READING}",
        (*labels("Augmentation", "Keras arguments"), Column("AUROC, validation"), Column("AUROC, test")),
        tuple(rows),
        (
            "A whole-number width_shift_range=1, as the paper has it, draws from {0}: it shifts nothing (W-5).",
            "Weights are selected on the same validation images, so that their AUROC is optimistic.",
        ),
    )


def attribution_table(found: Results) -> Table | None:
    """Return which share of each explainer's heat is inside the lungs; none where no test image has a mask."""
    known = found.facts["attribution"]
    if known is None:
        return None
    rows = []
    for name in found.config.columns:
        shares = {explainer: cells.get(key(name)) for explainer, cells in found.shares.items()}
        flat = known["explainers"]["grad_cam"].get(name, {}).get("flat")
        maps = len(known["images"]) * len(flat or ())
        rows.append(
            (
                *_described(found, name)[:3],
                *(_share(cell) if cell else _absent(found, name) for cell in shares.values()),
                TableCell(f"{sum(flat)} of {maps}") if flat is not None else MISSING,
            )
        )
    area = float(np.mean(known["area"]))
    explainers = (Column(EXPLAINER_TITLES[name], "share inside the lungs") for name in found.shares)
    patients = len(set(known["patients"]))
    return Table(
        "attribution",
        "Where the evidence is",
        f"Share of the heat for {found.config.positive} inside the lungs, over {len(known['images'])} test images of "
        f"{patients} patients with lung masks; the lungs cover {number(area)} of the image, which is what heat spread "
        f"evenly would have. {READING}",
        (*labels("Column", "Network", "Weights"), *explainers, Column("flat Grad-CAM maps")),
        tuple(rows),
        ("A flat map points nowhere and counts as heat spread evenly, so that all columns have the same images.",),
    )


def why_absent(found: Results, name: str) -> str:
    """Return why a column has no numbers; empty where it has."""
    base = found.config.columns[name].base
    return found.absent.get(base, "") if base else ""


def _described(found: Results, name: str) -> tuple[TableCell, ...]:
    column = found.config.columns[name]
    base = found.config.bases.get(column.base)
    trained = "all layers" if base is None or not column.frozen else "frozen base, new head"
    return (
        TableCell(column_title(name), TITLES.get(column.paper, "")),
        TableCell(base.network if base else "benchmark CNN", trained),
        TableCell(base.knows if base else "random"),
        TableCell(column.augmentation),
    )


def _printed(found: Results, name: str) -> tuple[TableCell, ...]:
    row = found.config.columns[name].paper
    if not row:
        return (MISSING,) * 4
    values = (table1().get((row, what)) for what in ("auc", "batch_size", "epochs", "steps_per_epoch"))
    return tuple(NOT_PRINTED if value is None else TableCell(f"{value:g}") for value in values)


def _ours(found: Results, name: str) -> tuple[TableCell, ...]:
    wanted = (("val", METRICS[0]), ("test", METRICS[0]), ("test", METRICS[1]))
    return tuple(_estimate(found, split, name, metric) for split, metric in wanted)


def _estimate(found: Results, split: str, name: str, metric: str) -> TableCell:
    cell = found.cells[split].get(key(name))
    if cell is None:
        return _absent(found, name) if name in found.config.columns else MISSING
    return estimate(brief(cell.samples[metric]))


def _absent(found: Results, name: str) -> TableCell:
    return TableCell("not available", hover=why_absent(found, name))


def _share(cell: Cell) -> TableCell:
    return estimate(brief(cell.samples[MEAN]))
