"""Drawings as SVG with CSS variables as colours, so that one drawing works in light mode, dark mode and print."""

import re
from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any

INK, QUIET, BLUE, ORANGE, GREEN = "#010203", "#040506", "#0072b2", "#d55e00", "#009e73"
"""Placeholders for CSS variables; the hues are from Okabe & Ito's palette, which suits all kinds of colour vision."""
_VARIABLES = {INK: "--ink", QUIET: "--quiet", BLUE: "--blue", ORANGE: "--orange", GREEN: "--green"}
DASHES = ("-", "--", ":", "-.")
"""Distinguish lines of one colour, by their index modulo four."""
_ACROSS = 3
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


def legend(figure: Any, axes: Sequence[Any], *, columns: int = 6) -> None:
    """Add one legend for all panels, above them."""
    handles = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=min(len(handles), columns))


def grid_rows(count: int) -> int:
    """Return how many rows of three :func:`panels` needs for ``count`` items."""
    return -(-max(count, 1) // _ACROSS)


def panels(figure: Any, items: Sequence[Any], draw: Callable[[Any, Any], None], *, label: str, share: bool) -> None:
    """Draw one panel per item, three per row, with one legend above them all.

    Args:
        figure: matplotlib's figure.
        items: what each panel shows.
        draw: called with axes and item.
        label: of the vertical axis, written at the left of every row.
        share: whether all panels have one vertical scale.
    """
    columns = min(_ACROSS, max(len(items), 1))
    axes = figure.subplots(grid_rows(len(items)), columns, sharey=share, squeeze=False).ravel()
    for item, axis in zip(items, axes, strict=False):
        draw(axis, item)
    for axis in axes[len(items) :]:
        axis.set_visible(False)
    for axis in axes[::columns]:
        axis.set_ylabel(label)
    legend(figure, axes, columns=4)


def svg(draw: Callable[[Any], None], key: str, *, height: float, width: float = 11.0) -> str:
    """Return a drawing as one SVG element with variable colours; ``key`` makes its identifiers unique on the page.

    Width and height are in inches.
    """
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": key}):
        figure = Canvas(figsize=(width, height), layout="constrained")
        draw(figure)
        target = StringIO()
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None})
    return _variable_colours(target.getvalue())


def standalone(drawing: str, style: str) -> str:
    """Return a drawing as the text of an SVG file, with the first colour that ``style`` gives each variable."""
    colours = dict(reversed(re.findall(r"(--\w+): (#\w+)", style)))
    text = re.sub(r"var\((--\w+)\)", lambda match: colours[match[1]], drawing)
    return text.replace("<svg", f'<svg style="background: {colours["--paper"]}"', 1) + "\n"


def _variable_colours(text: str) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # two figures on one page must not share identifiers
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
