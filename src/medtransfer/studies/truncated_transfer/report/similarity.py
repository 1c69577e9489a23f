"""How far fine-tuning moved each network from its start, block by block: linear CKA, 1 = nothing but a rotation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medtransfer.reporting.content import Column, Figure, Table, Text
from medtransfer.reporting.drawing import BLUE, GREEN, grid_rows, panels, svg
from medtransfer.reporting.formatting import number
from medtransfer.studies.truncated_transfer.config import Condition
from medtransfer.studies.truncated_transfer.report.names import (
    condition_title,
    network_title,
    start_title,
    strategy_of,
    variant_title,
)

_DASHES = ("-", "--", ":", "-.")
Depths = dict[tuple[str, Condition], dict[str, float]]
"""(variant, condition) → block → CKA, mean over seeds; NaN where a seed has none."""


def depths(facts: Mapping[str, Any]) -> Depths:
    """Return the CKA of every variant and condition by block, mean over seeds; ``facts``: similarity.json."""
    parts: dict[tuple[str, Condition], list[Mapping[str, float | None]]] = {}
    for fit in facts["fits"]:
        parts.setdefault((fit["variant"], Condition(fit["task"], fit["regime"], fit["protocol"])), []).append(
            fit["blocks"]
        )
    return {
        key: {block: float(np.mean([_number(seed[block]) for seed in seeds])) for block in seeds[0]}
        for key, seeds in parts.items()
    }


def similarity_table(found: Depths, facts: Mapping[str, Any]) -> Table:
    """Lay out CKA of the first, the middle and the last block, and the least of all."""
    body = []
    for (variant, condition), blocks in found.items():
        names = list(blocks)
        shown = [names[0], names[len(names) // 2], names[-1], min(names, key=lambda name: blocks[name])]
        values = [Text(number(blocks[name]), name) for name in shown]
        body.append(
            (Text(condition_title(condition)), Text(network_title(variant)), Text(start_title(variant)), *values)
        )
    images = ", ".join(f"{count} of {name}" for name, count in facts["images"].items()) or "none"
    return Table(
        "similarity",
        "How alike start and fine-tuned network see (CKA)",
        f"Unbiased linear CKA of the blocks’ pooled features before and after fine-tuning, mean over seeds, on test "
        f"images without their labels ({images}); 1: the same up to a rotation, 0: unrelated.",
        (
            *(Column(name, number=False) for name in ("Setting", "Network", "Start")),
            *map(Column, ("first block", "middle", "last block", "least")),
        ),
        tuple(body),
        () if body else ("No variant starts from pretrained weights.",),
    )


def similarity_figure(found: Depths) -> Figure:
    """Draw CKA over depth: a panel a setting, a line a variant."""
    conditions = list(dict.fromkeys(condition for _, condition in found))
    variants = list(dict.fromkeys(variant for variant, _ in found))

    def panel(axis: Any, condition: Condition) -> None:
        _panel(axis, {variant: blocks for (variant, other), blocks in found.items() if other == condition}, variants)
        axis.set_title(condition_title(condition))

    def draw(figure: Any) -> None:
        panels(figure, conditions, panel, label="CKA with the start", share=True)

    caption = "Blocks in running order, mean over seeds; a cut network ends where it is cut."
    title = "Similarity of start and fine-tuned network by depth"
    height = 0.6 + 3.0 * grid_rows(len(conditions))
    return Figure("similarity-depth", title, caption, svg(draw, "similarity", height=height), keyed=False)


def _panel(axis: Any, lines: Mapping[str, Mapping[str, float]], variants: Sequence[str]) -> None:
    for variant, blocks in lines.items():
        colour = GREEN if strategy_of(variant) == "transfusion" else BLUE
        dash = _DASHES[variants.index(variant) % len(_DASHES)]
        label = variant_title(variant)
        axis.plot(
            range(1, len(blocks) + 1), list(blocks.values()), color=colour, linestyle=dash, marker=".", label=label
        )
    axis.set_xlabel("block")
    axis.xaxis.get_major_locator().set_params(integer=True)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
