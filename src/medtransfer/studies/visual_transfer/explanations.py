"""What the columns look at (Fig. 1), how much of it is inside the lungs, and what they respond to most (Fig. 2, 3)."""

from typing import TYPE_CHECKING, Any

import numpy as np

from medtransfer.data.packed import PackedDataset, Rows
from medtransfer.data.windows import centre_crop
from medtransfer.explain.panels import HeatRow, heat_panel
from medtransfer.studies.base import Explained
from medtransfer.studies.visual_transfer import study
from medtransfer.studies.visual_transfer.attribution import (
    EXPLAINERS,
    SPLIT,
    Looked,
    attribution,
    looks,
    masked_rows,
)
from medtransfer.studies.visual_transfer.config import VisualTransferConfig
from medtransfer.studies.visual_transfer.images import targets_of
from medtransfer.studies.visual_transfer.maximized import maximized
from medtransfer.studies.visual_transfer.titles import column_title
from medtransfer.training.engine import Engine
from medtransfer.training.loading import grey_images, open_dataset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 2
"""Test images of each class in Fig. 1; the paper shows one."""


def explained(config: VisualTransferConfig) -> Explained:
    """Return first fits of few columns whose weights are here: each one costs a fit on permuted labels.

    The networks from scratch, a frozen base and one trained in all layers.
    """
    here = [name for name in config.columns if study.available(config, name)]
    kinds = {config.columns[name].frozen if config.columns[name].base else name: name for name in here}
    networks = {column_title(name): study.fitted(name, config.seeds[0]) for name in kinds.values()}
    return Explained(networks=networks, dataset=config.dataset, positive=config.positive)


def explanations(config: VisualTransferConfig, engine: Engine) -> tuple[dict[str, "Figure"], dict[str, Any]]:
    """Return the panels ``figure1``, ``figure1_saliency``, ``figure2`` and ``figure3``, and the facts for JSON."""
    import torch

    data = open_dataset(config.dataset)
    rows, inside = masked_rows(config, data)
    examples = example_rows(data, rows if len(rows) else data.rows(SPLIT), config.positive)
    asked = np.union1d(rows, examples)
    looked = list(looks(config, data, asked, engine))
    places, shown = np.searchsorted(asked, rows), np.searchsorted(asked, examples)
    grey = centre_crop(torch.from_numpy(grey_images(data, examples)), config.crop).numpy()
    labels = data.manifest["label"].iloc[examples].tolist()
    panels = {
        name: heat_panel(grey, labels, _heat_rows(looked, explainer, shown, config))
        for name, explainer in zip(("figure1", "figure1_saliency"), EXPLAINERS, strict=True)
    }
    scored = [one._replace(heats={name: heat[places] for name, heat in one.heats.items()}) for one in looked]
    images, about = maximized(config, engine)
    return panels | images, {
        "study": study.NAME,
        "dataset": config.dataset,
        "split": SPLIT,
        "output": config.positive,
        "seed": config.seeds[0],
        "shown": data.manifest["image_id"].iloc[examples].tolist(),
        "attribution": attribution(data, rows, inside, scored),
        "maximized": about,
    }


def example_rows(data: PackedDataset, rows: Rows, positive: str) -> Rows:
    """Return up to ``SHOWN`` rows of the class and of all others, each of another patient, the first by image id."""
    table = data.manifest.iloc[rows].assign(position=rows, target=targets_of(data, positive)[rows, 0])
    table = table.sort_values("image_id").drop_duplicates("patient_id")
    chosen = [table["position"][table["target"] == value].head(SHOWN) for value in (1, 0)]
    return np.concatenate(chosen).astype(np.int64)


def _heat_rows(looked: list[Looked], explainer: str, shown: np.ndarray, config: VisualTransferConfig) -> list[HeatRow]:
    """Return one row per column, of its first seed."""
    return [
        HeatRow(
            column_title(one.variant),
            one.heats[explainer][shown],
            [f"p({config.positive}) = {chance:.2f}" for chance in one.probability[shown]],
        )
        for one in looked
        if one.seed == config.seeds[0]
    ]
