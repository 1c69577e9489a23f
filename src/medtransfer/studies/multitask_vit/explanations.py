"""Where the main network sees evidence and lesions: relevance of COVID-19, severity maps, contours over the X-ray."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from medtransfer.data.loaders import Loader
from medtransfer.data.packed import PackedDataset, Rows
from medtransfer.data.phantom.record import lesions, lungs
from medtransfer.data.windows import centre_crop
from medtransfer.explain.localisation import agreement, overlap
from medtransfer.explain.networks import example_rows
from medtransfer.explain.panels import HeatRow, heat_panel
from medtransfer.explain.relevance import relevance_map
from medtransfer.explain.severity import severity_map
from medtransfer.models.classifier import Classifier
from medtransfer.models.multitask import LABEL, SEVERITY, MultitaskHead
from medtransfer.models.segmenters import Segmenter, segmenter
from medtransfer.models.weights import load_model
from medtransfer.studies.base import Explained
from medtransfer.studies.multitask_vit import study
from medtransfer.studies.multitask_vit.config import MultitaskVitConfig
from medtransfer.studies.multitask_vit.reading import Reading
from medtransfer.training.engine import Engine
from medtransfer.training.loading import EVALUATION_BATCH, grey_images, open_dataset
from medtransfer.training.progress import over

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 6
"""Test images in the panel."""
POSITIVE = "covid"
"""The class that the gallery explains, as the paper's data name it."""
SIDE_BY_SIDE = 2
"""Networks in the gallery."""
AFFECTED = 0.5
"""Severity from which on a pixel is inside a lesion's contour, as a zone counts from there."""
RELEVANCE, MAP = "relevance", "severity map"
TITLES = {RELEVANCE: "relevance\nof {}", MAP: "severity map,\nits contour at 0.5"}


@dataclass(frozen=True)
class Seen:
    """What the main network makes of N test images: maps ``[N, h, w]`` on 0–1 by name."""

    rows: Rows
    maps: Mapping[str, NDArray[np.float32]]


def explained(config: MultitaskVitConfig) -> Explained:
    """Return the main network and one more with a diagnosis: each one costs a fit on permuted labels."""
    named = [config.main, *(name for name in config.variants if name != config.main)]
    diagnosing = [name for name in named if LABEL in config.variants[name].tasks][:SIDE_BY_SIDE]
    networks = {name: study.fitted(name, config.seeds[0]) for name in diagnosing}
    return Explained(networks=networks, dataset=config.finetune.label.dataset, positive=POSITIVE)


def explanations(config: MultitaskVitConfig, engine: Engine) -> tuple[dict[str, "Figure"], dict[str, Any]]:
    """Return the panel ``maps``, and facts for JSON.

    The facts say how well the maps agree with lungs and lesions where masks exist, and by split where the lungs of
    graded images are from.
    """
    task = config.variants[config.main].tasks[0]
    data, crop = open_dataset(config.finetune.task(task).dataset), config.finetune.augment.crop
    examples = example_rows(data, data.rows(split="test"), count=SHOWN)
    masked = data.rows(split="test")
    masked = masked[data.manifest["mask_row"].to_numpy()[masked] >= 0]
    network, description = load_model(study.fitted(config.main, config.seeds[0]).weights)
    engine.place(network).eval()
    positive = _positive(description["heads"])
    segment = segmenter(config.finetune.segmenter)
    shown, scored = (_seen(network, positive, data, rows, crop, engine, segment) for rows in (examples, masked))
    return {"maps": _panel(data, shown, crop, _name(description["heads"], positive))}, {
        "study": study.NAME,
        "variant": config.main,
        "seed": config.seeds[0],
        "dataset": data.meta.name,
        "split": "test",
        "output": _name(description["heads"], positive),
        "lungs": _lungs(config, engine),
        "shown": data.manifest["image_id"].iloc[examples].tolist(),
        "images_with_masks": len(masked),
        "scores": _scores(scored, _masks(data, masked, crop)) if len(masked) else None,
    }


def _positive(heads: Mapping[str, Any]) -> int | None:
    """Return the class whose relevance is drawn: the one named after COVID-19, else the last; None without classes."""
    if LABEL not in heads:
        return None
    names = heads[LABEL].outputs
    return next((place for place, name in enumerate(names) if "covid" in name.lower()), len(names) - 1)


def _name(heads: Mapping[str, Any], positive: int | None) -> str:
    return "" if positive is None else str(heads[LABEL].outputs[positive])


def _lungs(config: MultitaskVitConfig, engine: Engine) -> dict[str, dict[str, int]]:
    """Return by split how many graded images have lungs from a file, a segmenter, or as a whole."""
    if SEVERITY not in config.variants[config.main].tasks:
        return {}
    reading = Reading.open(config, config.main, study.POOLED, engine)
    return {split: reading.lungs(split) for split in study.SPLITS}


def _seen(
    network: Classifier,
    positive: int | None,
    data: PackedDataset,
    rows: Rows,
    crop: int,
    engine: Engine,
    segment: Segmenter | None,
) -> Seen:
    """Return the maps of some rows, in the evaluation view; a severity map is 0 outside the lungs."""
    if not len(rows):
        return Seen(rows, {})
    head = cast(MultitaskHead, network.head)
    view: dict[str, Any] = {"crop": crop, "seed": 0, "train": False, "lungs": True, "segment": segment}
    loader = Loader(data, rows, batch_size=EVALUATION_BATCH, **view, device=engine.device)
    found: dict[str, list[NDArray[np.float32]]] = {}
    with over("maps", loader.steps, images=loader.batch_size) as bar:
        for batch in loader.epoch(0):
            images = engine.batch(batch)["image"]
            if positive is not None and head.transformer:
                found.setdefault(RELEVANCE, []).append(relevance_map(network, images, positive).cpu().numpy())
            if head.severity:
                severity = severity_map(network, images, batch["lungs"].to(images.device))
                found.setdefault(MAP, []).append(severity.cpu().numpy())
            bar.advance()
    return Seen(rows, {name: np.concatenate(parts) for name, parts in found.items()})


def _scores(seen: Seen, masks: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Return pointing, energy and overlap of every map by region; the energy in the lungs is the share inside them."""
    regions = {"lesion": lesions(masks), "lungs": lungs(masks)}
    return [
        {"map": name, "region": region, **asdict(agreement(heat, where)), "overlap": overlap(heat, where)}
        for name, heat in seen.maps.items()
        for region, where in regions.items()
    ]


def _panel(data: PackedDataset, shown: Seen, crop: int, output: str) -> "Figure":
    rows = [
        HeatRow(
            TITLES[name].format(output),
            heat,
            [""] * len(heat),
            outline=heat >= AFFECTED if name == MAP else None,
        )
        for name, heat in shown.maps.items()
    ]
    images = centre_crop(torch.from_numpy(grey_images(data, shown.rows)), crop).numpy()
    known = (data.manifest["mask_row"].to_numpy()[shown.rows] >= 0).all()
    masks = lesions(_masks(data, shown.rows, crop)) if known else None
    return heat_panel(images, data.manifest["label"].iloc[shown.rows].tolist(), rows, lesions=masks, label="X-ray")


def _masks(data: PackedDataset, rows: Rows, crop: int) -> NDArray[np.uint8]:
    assert data.masks is not None  # rows have masks
    places = data.manifest["mask_row"].to_numpy()[rows]
    cropped: NDArray[np.uint8] = centre_crop(torch.from_numpy(np.asarray(data.masks[places])), crop).numpy()
    return cropped
