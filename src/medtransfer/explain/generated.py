"""Sheets of images that were made, not taken: what units respond to most."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = {"font.size": 8, "axes.titlesize": 8, "text.parse_math": False}


def image_sheet(rows: Sequence[tuple[str, Sequence[NDArray[Any]]]], titles: Sequence[str]) -> "Figure":
    """Draw images in rows with a label each and columns with a title each.

    Args:
        rows: label and images ``[3, h, w]`` on 0–255, as many as there are titles.
        titles: one per column.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(1.4 * len(titles) + 0.9, 1.5 * len(rows) + 0.3), layout="constrained")
        axes = figure.subplots(len(rows), len(titles), squeeze=False)
        for axis, title in zip(axes[0], titles, strict=True):
            axis.set_title(title)
        for line, (label, images) in zip(axes, rows, strict=True):
            line[0].set_ylabel(label)
            for axis, image in zip(line, images, strict=True):
                axis.imshow(np.moveaxis(np.asarray(image), 0, 2).clip(0, 255).astype(np.uint8))
                axis.set(xticks=[], yticks=[])
                for spine in axis.spines.values():
                    spine.set_visible(False)
    return figure
