"""Forests of scores and of shares inside the lungs, and the paper's figures as images inside the page."""

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.evaluation.summary import brief
from medtransfer.reporting.content import Figure
from medtransfer.reporting.plots import Mark, forest
from medtransfer.studies.visual_transfer.claims import key
from medtransfer.studies.visual_transfer.floors import FEATURES, THUMBNAIL
from medtransfer.studies.visual_transfer.report.results import MEAN, Results
from medtransfer.studies.visual_transfer.report.tables import EXPLAINER_TITLES
from medtransfer.studies.visual_transfer.titles import column_title

GROUPS = ("from scratch", "natural images", "nearer the domain", "floor")
COLOURS = ("#767676", "#0072b2", "#d55e00", "#009e73")


def figures(found: Results, folder: Path) -> tuple[Figure, ...]:
    """Return all figures, those that answer the study's question first."""
    shares = [_shares(found)] if found.shares else []
    return (*shares, _scores(found), *_panels(found, folder))


def _scores(found: Results) -> Figure:
    names = [*found.config.columns, THUMBNAIL, FEATURES]
    cells = [(name, found.cells["test"].get(key(name))) for name in names]
    marks = [
        Mark("", "AUROC", column_title(name), *_group(found, name), brief(cell.samples["auroc"]))
        for name, cell in cells
        if cell
    ]
    caption = "Test images; points are means over seeds, lines 95 % intervals; the dotted line is chance."
    return forest("scores", "AUROC of every column", caption, marks, reference=0.5)


def _shares(found: Results) -> Figure:
    area = float(np.mean(found.facts["attribution"]["area"]))
    marks = [
        Mark("", EXPLAINER_TITLES[explainer], column_title(name), *_group(found, name), brief(cell.samples[MEAN]))
        for explainer, cells in found.shares.items()
        for name in found.config.columns
        if (cell := cells.get(key(name)))
    ]
    caption = (
        f"Share of the heat for {found.config.positive} inside the lungs, test images with lung masks; points are "
        "means over images and seeds, lines 95 % intervals over patients and seeds; the dotted line is the share of "
        "the image that the lungs cover."
    )
    return forest("shares", "How much of the evidence is inside the lungs", caption, marks, reference=area)


def _group(found: Results, name: str) -> tuple[str, dict[str, Any]]:
    column = found.config.columns.get(name)
    base = found.config.bases.get(column.base) if column else None
    number = 3 if column is None else 0 if base is None else 1 + base.near
    return GROUPS[number], {"color": COLOURS[number], "marker": "sDo^"[number]}


def _panels(found: Results, folder: Path) -> list[Figure]:
    facts = found.facts
    cases = (
        f"Test images of {facts['output']} and of others, the first by name and not by score, seed {facts['seed']}. "
        f"Heat shows evidence for {facts['output']}; brighter means more, each map over its own range. "
    )
    known = {
        "figure1": ("Fig. 1 · Grad-CAM", f"{cases}Grad-CAM on the last map of the base."),
        "figure1_saliency": ("Fig. 1 · Saliency", f"{cases}Saliency: gradient of the output by each pixel."),
    }
    if facts["maximized"]["columns"]:
        known |= _maximized(facts["maximized"])
    return [
        Figure(name, title, caption, _image(folder / f"{name}.png", caption))
        for name, (title, caption) in known.items()
    ]


def _maximized(facts: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    steps = f"{facts['iterations']} iterations"
    layers = ", ".join(f"{column_title(name)}: {layer}" for name, layer in facts["layers"].items())
    return {
        "figure2": (
            "Fig. 2 · What the output responds to most",
            f"Activation maximisation with the settings of keras-vis, {steps}; contrast is not comparable.",
        ),
        "figure3": (
            "Fig. 3 · What filters respond to most",
            f"Filters of the last convolution, {steps}, 5 % jitter and no total variation. {layers}.",
        ),
    }


def _image(file: Path, caption: str) -> str:
    data = base64.b64encode(file.read_bytes()).decode()
    return f'<img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
