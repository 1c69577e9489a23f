"""Where the columns' evidence is: heat of explainers over test images with lung masks, and its share in the lungs."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from medtransfer.data.keras import KerasLoader
from medtransfer.data.packed import PackedDataset, Rows
from medtransfer.data.phantom.record import lungs
from medtransfer.data.windows import centre_crop
from medtransfer.explain.explainers import explain
from medtransfer.models.classifier import Classifier
from medtransfer.models.weights import load_model
from medtransfer.studies.visual_transfer import study
from medtransfer.studies.visual_transfer.config import VisualTransferConfig
from medtransfer.studies.visual_transfer.images import normalization_in, view_of
from medtransfer.training.engine import Engine
from medtransfer.training.progress import console, over

EXPLAINERS = ("grad_cam", "saliency")
SPLIT = "test"

Heat = npt.NDArray[np.float32]


class Looked(NamedTuple):
    """What a fit makes of N images: heat on 0–1 by explainer ``[N, h, w]``, probability of the class ``[N]``."""

    variant: str
    seed: int
    heats: Mapping[str, Heat]
    probability: npt.NDArray[np.float32]


def columns(config: VisualTransferConfig) -> list[str]:
    """Return the columns that have weights."""
    return [name for name in config.columns if name in config.variants and study.available(config, name)]


def looks(config: VisualTransferConfig, data: PackedDataset, rows: Rows, engine: Engine) -> Iterator[Looked]:
    """Yield every fit of every column with its heat for the positive class over some rows."""
    for variant in columns(config):
        for seed in config.seeds:
            model, description = load_model(study.fitted(variant, seed).weights)
            engine.place(model)
            loader = view_of(data, SPLIT, config, normalization_in(description), engine)
            loader.rows = rows
            yield _looked(model, loader, variant, seed)
            console.print(f"explained {variant} · seed {seed}", markup=False, soft_wrap=True)


def masked_rows(config: VisualTransferConfig, data: PackedDataset) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """Return the test rows whose mask shows lungs in the cropped view, and these lungs ``[N, crop, crop]``."""
    rows = data.rows(SPLIT)
    places = data.manifest["mask_row"].to_numpy()[rows]
    if data.masks is None or (places < 0).all():
        return rows[:0], np.zeros((0, config.crop, config.crop), bool)
    rows, places = rows[places >= 0], places[places >= 0]
    masks = lungs(centre_crop(torch.from_numpy(np.asarray(data.masks[places])), config.crop).numpy())
    shown = masks.any(axis=(1, 2))
    return rows[shown], masks[shown]


def share_inside(heat: Heat, inside: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.float64], int]:
    """Return the share of each image's heat inside a region ``[N]``, and how many maps are flat.

    A flat map points nowhere: it counts as heat spread evenly, so that every column is scored on the same images.

    Args:
        heat: ``[N, h, w]``, not negative.
        inside: ``[N, h, w]``.
    """
    total = heat.sum(axis=(1, 2), dtype=np.float64)
    part = (heat * inside).sum(axis=(1, 2), dtype=np.float64)
    area = inside.mean(axis=(1, 2))
    return np.where(total > 0, part / np.where(total > 0, total, 1), area), int((total == 0).sum())


def attribution(
    data: PackedDataset, rows: Rows, inside: npt.NDArray[np.bool_], looked: list[Looked]
) -> dict[str, Any] | None:
    """Return the shares of heat inside the lungs for JSON; ``None`` where no test image has a mask."""
    if not len(rows):
        return None
    entries = data.entries(rows)
    shares: dict[str, dict[str, dict[str, list[Any]]]] = {name: {} for name in EXPLAINERS}
    for one in looked:
        for name, heat in one.heats.items():
            values, flat = share_inside(heat, inside)
            found = shares[name].setdefault(one.variant, {"seeds": [], "shares": [], "flat": []})
            found["seeds"].append(one.seed)
            found["shares"].append([round(float(value), 6) for value in values])
            found["flat"].append(flat)
    return {
        "images": entries["image_id"].tolist(),
        "patients": entries["patient_id"].tolist(),
        "area": inside.mean(axis=(1, 2)).tolist(),
        "explainers": shares,
    }


def _looked(model: Classifier, loader: KerasLoader, variant: str, seed: int) -> Looked:
    heats: dict[str, list[Heat]] = {name: [] for name in EXPLAINERS}
    chances = []
    with over(f"attribution · {variant} seed {seed}", loader.steps, images=loader.batch_size) as bar:
        for batch in loader.epoch(0):
            for name in EXPLAINERS:
                heats[name].append(explain(name, model, batch["image"], 0).float().cpu().numpy())
            with torch.no_grad():
                chances.append(torch.sigmoid(model(batch["image"])[:, 0]).float().cpu().numpy())
            bar.advance()
    return Looked(
        variant, seed, {name: np.concatenate(parts) for name, parts in heats.items()}, np.concatenate(chances)
    )
