"""A sheet of one network for its run in the tracker: cases as rows; image, then map and overlay of every explainer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medtransfer.explain.panels import HEAT
from medtransfer.explain.tiles import grey_tile, map_tile, overlay_tile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = {"font.size": 8, "axes.titlesize": 8, "text.parse_math": False}


@dataclass(frozen=True)
class SheetRow:
    """One case: its caption (id, truth, prediction, score), the grey image ``[h, w]``, and heat by explainer."""

    caption: str
    image: NDArray[np.uint8]
    heats: Sequence[NDArray[np.floating]]


def case_sheet(title: str, explainers: Sequence[str], rows: Sequence[SheetRow]) -> "Figure":
    """Draw cases of one network.

    Args:
        title: network and kind of cases.
        explainers: titles in the order of each row's heats.
        rows: one or more cases.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        columns = 1 + 2 * len(explainers)
        figure = Figure(figsize=(1.25 * columns + 1, 1.25 * len(rows) + 0.7), layout="constrained")
        figure.suptitle(title, fontsize=10)
        axes = figure.subplots(len(rows), columns, squeeze=False)
        heads = ["image", *(text for name in explainers for text in (name, "over image"))]
        for axis, head in zip(axes[0], heads, strict=True):
            axis.set_title(head)
        for line, row in zip(axes, rows, strict=True):
            tiles = [grey_tile(row.image)]
            for heat in row.heats:
                tiles += [map_tile(heat), overlay_tile(row.image, heat)]
            for axis, tile in zip(line, tiles, strict=True):
                axis.imshow(tile)
                axis.set(xticks=[], yticks=[])
                for spine in axis.spines.values():
                    spine.set_visible(False)
            line[0].set_ylabel(row.caption, rotation=0, ha="right", va="center")
        scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(0, 1), HEAT)
        bar = figure.colorbar(scale, ax=axes, shrink=0.6, aspect=30, pad=0.01, ticks=[0, 1])
        bar.set_label("heat, each map over its own range")
    return figure
