"""Figures: heat over slices, and the Generator's regions beside the slices that they were cut from.

Heat is drawn in *inferno*. The paper's rainbow of blue to red has bright bands in its middle that look like edges and
cannot be told apart by everyone; inferno's lightness grows evenly with the value, in print without colour too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medtransfer.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEAT, OPACITY = "inferno", 0.75
REGION_COLOURS = ("#0072b2", "#56b4e9", "#009e73", "#d55e00", "#e69f00")
"""One hue a region (Okabe & Ito): blues and green for the patient's right lung, warm ones for the left."""
SIDE_BY_SIDE = 2
LUNG_COLOUR, LESION_COLOUR, OUTLINE_COLOUR = "#f0e442", "#ffffff", "#56b4e9"
DPI = 150
_STYLE = {"font.size": 8, "axes.titlesize": 8, "text.parse_math": False}


@dataclass(frozen=True)
class HeatRow:
    """One row of a heat panel: its label, one map an image ``[N, h, w]`` on 0–1, and a caption for each.

    ``outline`` ``[N, h, w]`` is drawn around what the map itself calls affected.
    """

    label: str
    heat: NDArray[np.floating]
    captions: Sequence[str]
    outline: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class RegionCase:
    """One slice of a contact sheet: the image ``[h, w]``, its five boxes ``[5, 4]``, lungs ``[h, w]`` and crops."""

    title: str
    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    lungs: NDArray[np.bool_]
    crops: NDArray[np.floating]


def heat_panel(
    images: NDArray[Any],
    titles: Sequence[str],
    rows: Sequence[HeatRow],
    *,
    lesions: NDArray[np.bool_] | None = None,
    label: str = "slice",
) -> "Figure":
    """Draw the images and below them each row's heat over the same images, one column per image.

    Args:
        images: grey images ``[N, h, w]``.
        titles: one per image.
        rows: kinds of heat, from top to bottom.
        lesions: known lesions ``[N, h, w]``, outlined in white.
        label: what the images are.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(1.6 * len(images) + 1.1, 1.75 * (len(rows) + 1)), layout="constrained")
        axes = figure.subplots(len(rows) + 1, len(images), squeeze=False)
        for axis, name in zip(axes[:, 0], [label, *(row.label for row in rows)], strict=True):
            axis.set_ylabel(name)
        for column, (image, title) in enumerate(zip(images, titles, strict=True)):
            axes[0, column].set_title(title)
            for axis in axes[:, column]:
                _grey(axis, image)
                if lesions is not None and lesions[column].any():
                    axis.contour(lesions[column], [0.5], colors=LESION_COLOUR, linewidths=0.7)
            for axis, row in zip(axes[1:, column], rows, strict=True):
                _warm(axis, row.heat[column], row.captions[column])
                if row.outline is not None and row.outline[column].any():
                    axis.contour(row.outline[column], [0.5], colors=OUTLINE_COLOUR, linewidths=0.7)
        scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(0, 1), HEAT)
        bar = figure.colorbar(scale, ax=axes, shrink=0.4, aspect=30, pad=0.01, ticks=[0, 1])
        bar.set_label("heat, each map over its own range")
    return figure


def _warm(axis: Any, heat: NDArray[np.floating], caption: str) -> None:
    """Lay heat over an image, the more opaque the hotter it is, so that the image stays grey where there is none."""
    axis.imshow(heat, cmap=HEAT, vmin=0, vmax=1, alpha=OPACITY * np.sqrt(heat))
    axis.set_xlabel(caption if heat.any() else f"{caption}, no heat".removeprefix(", "))


def region_sheet(cases: Sequence[RegionCase], names: Sequence[str]) -> "Figure":
    """Draw each slice with its lungs and boxes, and beside it its five crops in the order of ``names``.

    Two slices are side by side.
    """
    import matplotlib
    from matplotlib.figure import Figure

    wide, lines = len(names) + 2, -(-len(cases) // SIDE_BY_SIDE)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(SIDE_BY_SIDE * (2.5 + 1.15 * len(names)), 2.4 * lines), layout="constrained")
        widths = [2.0, *[1.0] * len(names), 0.15] * SIDE_BY_SIDE  # the last one is a gap
        axes = figure.subplots(lines, SIDE_BY_SIDE * wide, squeeze=False, width_ratios=widths)
        for axis in axes.flat:
            axis.set_axis_off()
        for number, case in enumerate(cases):
            row = axes[number // SIDE_BY_SIDE, number % SIDE_BY_SIDE * wide :]
            _located(row[0], case)
            for axis, crop, name, colour in zip(row[1 : wide - 1], case.crops, names, REGION_COLOURS, strict=True):
                _grey(axis, crop)
                axis.set_title(name, color=colour)
                for spine in axis.spines.values():
                    spine.set(visible=True, color=colour, linewidth=1.5)
    return figure


def write_panel(figure: "Figure", file: Path) -> None:
    """Write a panel as PNG; the same panel gives the same bytes."""
    write_bytes(file, panel_png(figure))


def panel_png(figure: "Figure") -> bytes:
    """Return a panel as PNG; the same panel gives the same bytes."""
    png = BytesIO()
    figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    return png.getvalue()


def image_grid(images: NDArray[Any], titles: Sequence[str], *, columns: int = 5) -> "Figure":
    """Draw grey images ``[N, h, w]``, each under its title, some in a row."""
    import matplotlib
    from matplotlib.figure import Figure

    lines = -(-len(images) // columns)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(1.8 * columns, 2.3 * lines), layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for axis in axes:
            axis.set_axis_off()
        for axis, image, title in zip(axes, images, titles, strict=False):
            _grey(axis, image)
            axis.set_title(title)
    return figure


def _located(axis: Any, case: RegionCase) -> None:
    from matplotlib.patches import Rectangle

    _grey(axis, case.image)
    if case.lungs.any():
        axis.contour(case.lungs, [0.5], colors=LUNG_COLOUR, linewidths=0.8)
    for number, ((x0, y0, x1, y1), colour) in enumerate(zip(case.boxes, REGION_COLOURS, strict=True)):
        # edges of pixels are whole numbers in a box, half ones in an image; dashes in turn show edges that boxes share
        box = Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=1.4)
        box.set_linestyle((4 * number, (4, 4)))
        axis.add_patch(box)
    axis.set_title(case.title)


def _grey(axis: Any, image: NDArray[Any]) -> None:
    axis.set_axis_on()
    top = 255 if image.dtype.kind in "ui" else 1
    axis.imshow(image, cmap="gray", vmin=0, vmax=top)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)
