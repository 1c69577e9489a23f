"""How far fine-tuning moved each network from its start, by block: linear CKA, 1 = at most a rotation."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from medtransfer.evaluation.cells import Key
from medtransfer.reporting.content import Column, Figure, Table, TableCell
from medtransfer.reporting.drawing import BLUE, DASHES, GREEN, grid_rows, panels, svg
from medtransfer.reporting.formatting import number
from medtransfer.studies.truncated_transfer.report.names import (
    FIT,
    condition_title,
    fit_cells,
    strategy_of,
    variant_title,
)

Depths = dict[Key, dict[str, float]]
"""(variant, condition) → block → CKA, mean over seeds; NaN if a seed has none."""


def depths(facts: Mapping[str, Any]) -> Depths:
    """Return the CKA of every variant and condition by block, mean over seeds; ``facts``: similarity.json."""
    parts: dict[Key, list[Mapping[str, float | None]]] = {}
    for fit in facts["fits"]:
        parts.setdefault((fit["variant"], fit["condition"]), []).append(fit["blocks"])
    return {
        key: {block: float(np.mean([_number(seed[block]) for seed in seeds])) for block in seeds[0]}
        for key, seeds in parts.items()
    }


def similarity_table(by_depth: Depths, facts: Mapping[str, Any]) -> Table:
    """Return CKA of the first, middle and last block, and of the block with the lowest."""
    body = []
    for key, blocks in by_depth.items():
        names = list(blocks)
        chosen = [names[0], names[len(names) // 2], names[-1], min(names, key=lambda name: blocks[name])]
        body.append((*fit_cells(key), *(TableCell(number(blocks[name]), name) for name in chosen)))
    images = ", ".join(f"{count} of {name}" for name, count in facts["images"].items()) or "none"
    return Table(
        "similarity",
        "How similar the network is before and after fine-tuning (CKA)",
        f"Unbiased linear CKA of each block’s pooled features before and after fine-tuning, mean over seeds, on test "
        f"images without their labels ({images}); 1: the same up to a rotation, 0: unrelated.",
        (*FIT, *map(Column, ("first block", "middle", "last block", "lowest"))),
        tuple(body),
        () if body else ("No variant starts from pretrained weights.",),
    )


def similarity_figure(by_depth: Depths) -> Figure:
    """Draw CKA over depth: one panel per setting, one line per variant."""
    conditions = list(dict.fromkeys(condition for _, condition in by_depth))
    variants = list(dict.fromkeys(variant for variant, _ in by_depth))

    def panel(axis: Any, condition: str) -> None:
        for (variant, other), blocks in by_depth.items():
            if other == condition:
                style = {"color": GREEN if strategy_of(variant) == "transfusion" else BLUE, "marker": "."}
                style |= {"linestyle": DASHES[variants.index(variant) % len(DASHES)], "label": variant_title(variant)}
                axis.plot(range(1, len(blocks) + 1), list(blocks.values()), **style)
        axis.set_title(condition_title(condition))
        axis.set_xlabel("block")
        axis.xaxis.get_major_locator().set_params(integer=True)

    def draw(figure: Any) -> None:
        panels(figure, conditions, panel, label="CKA with the start", share=True)

    caption = "Blocks in forward order, mean over seeds; a cut network ends at its cut."
    title = "Similarity of start and fine-tuned network by depth"
    height = 0.6 + 3.0 * grid_rows(len(conditions))
    return Figure("similarity-depth", title, caption, svg(draw, "similarity", height=height))


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
