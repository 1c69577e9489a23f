"""``medtransfer explain STUDY``: what the fine-tuned networks look at, and the regions that self-supervision reads."""

from argparse import Namespace
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from medtransfer import paths
from medtransfer.data.loaders import Loader
from medtransfer.data.packed import PackedDataset, Rows
from medtransfer.data.phantom.record import lesions, lungs
from medtransfer.data.transforms import crop_boxes
from medtransfer.explain.localisation import agreement
from medtransfer.explain.methods import ATTENTION, GRAD_CAM, LAST_MAP, Method, heat_over, map_sizes
from medtransfer.explain.panels import HeatRow, RegionCase, heat_panel, region_sheet
from medtransfer.files import write_atomic, write_json
from medtransfer.losses.regions import REGIONS
from medtransfer.models.weights import load_model
from medtransfer.params import load_params
from medtransfer.reporting.words import network_title
from medtransfer.ssl.lungs import lung_mask
from medtransfer.ssl.regions import TABLES, BoxTable, coverage, locate
from medtransfer.studies.attentive_transfer import study
from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig
from medtransfer.studies.attentive_transfer.printed import attention_layers, plain
from medtransfer.training.engine import Engine
from medtransfer.training.loading import EVALUATION_BATCH, open_dataset
from medtransfer.training.progress import console

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 6
"""Test images in the figure, as many of each class."""
SLICES, FALLBACKS = 8, 2
"""Slices on the contact sheet: evenly spaced ones, and up to so many in which no lungs were found."""
DPI = 150


class Look(NamedTuple):
    """What one network makes of the images: heat by method ``[N, h, w]``, the sizes of the maps behind it, and p."""

    heats: dict[Method, NDArray[np.float32]]
    sizes: dict[Method, tuple[int, int]]
    probability: NDArray[np.float32]


def run(options: Namespace) -> None:
    """Write ``figure4.png``, ``regions.png`` and ``explanations.json`` below ``out/<study>/explanations``."""
    params = load_params()
    config, engine = params.attentive_transfer, Engine(params.hardware.model_copy(update={"precision": "fp32"}))
    out = paths.OUT / options.study / "explanations"
    facts = _networks(config, engine, out / "figure4.png")
    regions = _regions(config.sstl_m.dataset, config.sstl_m.boxes, out / "regions.png")
    write_json(out / "explanations.json", {"study": options.study, **facts, "regions": regions})


def whole_chain(config: AttentiveTransferConfig) -> str:
    """Return the chain with the most steps, the first of those that have as many."""
    return max(config.chains, key=lambda chain: len([step for step in chain.split("-") if step != "none"]))


def shown_rows(data: PackedDataset, rows: Rows) -> Rows:
    """Return the rows of the figure: as many of each class, by image id, each of another patient; never by score."""
    table = data.manifest.iloc[rows].assign(position=rows).sort_values("image_id").drop_duplicates("patient_id")
    each = SHOWN // len(data.meta.classes)
    chosen = [table["position"][table["label"] == name].head(each) for name in data.meta.classes]
    return np.concatenate(chosen).astype(np.int64)


def _networks(config: AttentiveTransferConfig, engine: Engine, file: Path) -> dict[str, Any]:
    """Explain every network after the whole chain: all test images where masks can score it, else the shown ones."""
    data, crop = open_dataset(config.finetune.dataset), config.finetune.augment.crop
    chain, seed = whole_chain(config), config.seeds[0]
    shown = shown_rows(data, data.rows(split="test"))
    rows = shown if data.masks is None else data.rows(split="test")
    loader = Loader(data, rows, batch_size=EVALUATION_BATCH, crop=crop, seed=0, train=False, device=engine.device)
    looks = {}
    for network in config.networks:
        folder = study.finetuned_folder(network, chain) / "weights" / f"seed{seed}"
        looks[network] = _look(folder, loader, data.meta.classes.index(config.positive), engine)
        console.print(f"explained {network} · {chain} · seed {seed}")
    places = np.array([np.flatnonzero(rows == row)[0] for row in shown])
    masks = _masks(data, rows, crop)
    figure = heat_panel(
        _centre(_grey(data, shown), crop),
        data.manifest["label"].iloc[shown].tolist(),
        _heat_rows(looks, places, config.positive),
        lesions=None if masks is None else lesions(masks[places]),
    )
    _save(figure, file)
    return {
        "dataset": config.finetune.dataset,
        "split": "test",
        "chain": chain,
        "seed": seed,
        "output": config.positive,
        "shown": data.manifest["image_id"].iloc[shown].tolist(),
        "maps": [
            {"network": network, **asdict(method), "rows": size[0], "columns": size[1]}
            for network, look in looks.items()
            for method, size in look.sizes.items()
        ],
        "scores": None if masks is None else _scores(looks, masks),
    }


def _look(folder: Path, loader: Loader, column: int, engine: Engine) -> Look:
    model, _ = load_model(folder)
    engine.place(model).eval()
    with torch.no_grad():
        probability = [torch.softmax(model(batch["image"]), 1)[:, column].cpu().numpy() for batch in loader.epoch(0)]
    heats = heat_over(model, (batch["image"] for batch in loader.epoch(0)), column)
    return Look(heats, map_sizes(model, loader.batch(0, 0)["image"][:1]), np.concatenate(probability))


def _heat_rows(looks: dict[str, Look], places: NDArray[np.int64], positive: str) -> list[HeatRow]:
    """Rows of Fig. 4: Grad-CAM of the plain network, then Grad-CAM and attention of the network with most ATTN.

    The paper shows the last ATTN layer; the last one of each finer map follows, since small pictures leave few cells.
    """
    most = max(looks, key=attention_layers)
    rows = []
    for network in dict.fromkeys(name for name in (plain(most), most) if name in looks):
        look = looks[network]
        chances = [f"p({positive}) = {p:.2f}" for p in look.probability[places]]
        last = {look.sizes[method]: method for method in look.heats if method.name == ATTENTION}
        for method in [Method(GRAD_CAM, LAST_MAP), *reversed(last.values())]:
            how = "Grad-CAM" if method.name == GRAD_CAM else f"attention {method.layer}"
            label = f"{network_title(network)}\n{how}\n{look.sizes[method][0]} × {look.sizes[method][1]}"
            captions = chances if method.name == GRAD_CAM else [""] * len(places)
            rows.append(HeatRow(label, look.heats[method][places], captions))
    return rows


def _scores(looks: dict[str, Look], masks: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Score every network and method against the regions that the masks know."""
    known = {"lesion": lesions(masks), "lungs": lungs(masks)}
    return [
        {"network": network, **asdict(method), "region": name, **asdict(agreement(heat, region))}
        for network, look in looks.items()
        for method, heat in look.heats.items()
        for name, region in known.items()
    ]


def _regions(name: str, table: BoxTable, file: Path) -> dict[str, Any]:
    """Draw the contact sheet of the training slices' regions; count fallbacks, and coverage where lobes are known."""
    data = open_dataset(name)
    rows = data.rows(split="train", labelled=False)
    rows = rows[np.argsort(data.manifest["image_id"].iloc[rows], kind="stable")]
    pictures = _grey(data, rows)
    located = locate(pictures, table=table)
    evenly = np.linspace(0, len(rows) - 1, min(SLICES, len(rows))).round().astype(np.int64)
    chosen = list(dict.fromkeys([*evenly, *np.flatnonzero(~located.found)[:FALLBACKS]]))
    cases = [_case(pictures[i], located.boxes[i], found=bool(located.found[i])) for i in chosen]
    _save(region_sheet(cases, REGIONS), file)
    masks = _masks(data, rows, data.meta.size)
    return {
        "dataset": name,
        "split": "train",
        "boxes": table,
        "images": len(rows),
        "without_lungs": int((~located.found).sum()),
        "coverage": None if masks is None else _coverage(pictures, masks),
        "slices": data.manifest["image_id"].iloc[rows[chosen]].tolist(),
    }


def _coverage(pictures: NDArray[np.uint8], masks: NDArray[np.uint8]) -> dict[str, dict[str, float | None]]:
    """Share of each lobe that its box holds, by table of boxes."""
    return {table: coverage(masks, locate(pictures, table=table).boxes).share() for table in TABLES}


def _case(image: NDArray[np.uint8], boxes: NDArray[np.float32], *, found: bool) -> RegionCase:
    crops = crop_boxes(torch.from_numpy(image)[None, None], torch.from_numpy(boxes)[None], len(image))
    title = "" if found else "no lungs found: whole slice"
    return RegionCase(title, image, boxes, lung_mask(image), crops[:, 0].numpy())


def _grey(data: PackedDataset, rows: Rows) -> NDArray[np.uint8]:
    """Return pictures of any depth as uint8 ``[N, H, W]``."""
    images = data.images[rows]
    grey: NDArray[np.uint8] = np.rint(images.mean(1) / (np.iinfo(images.dtype).max / 255)).astype(np.uint8)
    return grey


def _masks(data: PackedDataset, rows: Rows, crop: int) -> NDArray[np.uint8] | None:
    """Return the masks of rows, cut like the evaluation view; nothing where a row has none."""
    places = data.manifest["mask_row"].to_numpy()[rows]
    return None if data.masks is None or (places < 0).any() else _centre(np.asarray(data.masks[places]), crop)


def _centre(pictures: NDArray[Any], crop: int) -> NDArray[Any]:
    top, left = ((side - crop) // 2 for side in pictures.shape[-2:])
    return pictures[..., top : top + crop, left : left + crop]


def _save(figure: "Figure", file: Path) -> None:
    write_atomic(file, partial(figure.savefig, format="png", dpi=DPI, metadata={"Software": None}))
