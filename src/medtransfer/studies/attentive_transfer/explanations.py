"""What the fine-tuned networks look at (Fig. 4), and the lobe regions that self-supervision reads (section 5.3)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medtransfer.data.loaders import Loader
from medtransfer.data.packed import PackedDataset, Rows
from medtransfer.data.phantom.poses import POSES, draw_posed
from medtransfer.data.phantom.record import lesions, lungs
from medtransfer.explain.methods import ATTENTION, GRAD_CAM, LAST_MAP, Method
from medtransfer.explain.networks import Explanation, agreement_table, example_rows, explain_network, map_table
from medtransfer.explain.panels import HeatRow, heat_panel, region_sheet
from medtransfer.explain.regions import region_case, sheet_places
from medtransfer.losses.regions import REGIONS
from medtransfer.models.weights import load_model
from medtransfer.ssl.lungs import lung_mask
from medtransfer.ssl.regions import TABLES, coverage, locate
from medtransfer.studies.attentive_transfer import study
from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig
from medtransfer.studies.attentive_transfer.titles import attention_layers, chain_title, network_title, plain
from medtransfer.studies.base import Explained
from medtransfer.training.engine import Engine
from medtransfer.training.loading import EVALUATION_BATCH, grey_images, open_dataset
from medtransfer.training.progress import console

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 6
"""Test images in Fig. 4."""
PHANTOMS = 40
"""Phantom slices per pose on which the boxes of the lobes are checked."""


def explanations(config: AttentiveTransferConfig, engine: Engine) -> tuple[dict[str, "Figure"], dict[str, Any]]:
    """Return the panels ``figure4`` and ``regions``, and the facts they show, for JSON."""
    figure, facts = _networks(config, engine)
    sheet, regions = _regions(config)
    facts |= {"study": study.NAME, "regions": regions, "phantoms": phantom_coverage()}
    return {"figure4": figure, "regions": sheet}, facts


def explained(config: AttentiveTransferConfig) -> Explained:
    """Return every network after the whole chain, as in Fig. 4."""
    chains = {network: whole_chain(config, network) for network in config.networks}
    networks = {
        f"{network_title(network)} · {chain_title(chain)}": study.finetuned(network, chain, config.seeds[0])
        for network, chain in chains.items()
    }
    return Explained(networks=networks, dataset=config.finetune.dataset, positive=config.positive)


def whole_chain(config: AttentiveTransferConfig, network: str) -> str:
    """Return the chain of a network with the most steps; of several, the first."""
    return max(config.chains_of(network), key=lambda chain: len([step for step in chain.split("-") if step != "none"]))


def _networks(config: AttentiveTransferConfig, engine: Engine) -> tuple["Figure", dict[str, Any]]:
    """Explain every network after the whole chain: on all test images if masks can score it, else on the examples."""
    data, crop = open_dataset(config.finetune.dataset), config.finetune.augment.crop
    examples = example_rows(data, data.rows(split="test"), count=SHOWN)
    rows = examples if data.masks is None else data.rows(split="test")
    explained = _explained(config, data, rows, engine)
    places = np.array([np.flatnonzero(rows == row)[0] for row in examples])
    masks = _masks(data, rows, crop)
    regions = None if masks is None else {"lesion": lesions(masks), "lungs": lungs(masks)}
    figure = heat_panel(
        _centre(grey_images(data, examples), crop),
        data.manifest["label"].iloc[examples].tolist(),
        _heat_rows(explained, places, config.positive),
        lesions=None if regions is None else regions["lesion"][places],
    )
    return figure, {
        "dataset": config.finetune.dataset,
        "split": "test",
        "chains": {network: whole_chain(config, network) for network in config.networks},
        "seed": config.seeds[0],
        "output": config.positive,
        "shown": data.manifest["image_id"].iloc[examples].tolist(),
        "maps": map_table(explained),
        "scores": None if regions is None else agreement_table(explained, regions),
    }


def _explained(
    config: AttentiveTransferConfig, data: PackedDataset, rows: Rows, engine: Engine
) -> dict[str, Explanation]:
    crop, output = config.finetune.augment.crop, data.meta.classes.index(config.positive)
    loader = Loader(data, rows, batch_size=EVALUATION_BATCH, crop=crop, seed=0, train=False, device=engine.device)
    explained, seed = {}, config.seeds[0]
    for network in config.networks:
        chain = whole_chain(config, network)
        model, _ = load_model(study.finetuned(network, chain, seed).weights)
        engine.place(model).eval()
        explained[network] = explain_network(model, loader, output)
        console.print(f"explained {network} · {chain} · seed {seed}")
    return explained


def _heat_rows(explained: Mapping[str, Explanation], places: NDArray[np.int64], positive: str) -> list[HeatRow]:
    """Return the rows of Fig. 4: Grad-CAM of the plain network, then Grad-CAM and attention of that with most ATTN.

    The paper shows the last ATTN layer; the last layer at each finer resolution follows: small images leave few cells.
    """
    most = max(explained, key=attention_layers)
    rows = []
    for network in dict.fromkeys(name for name in (plain(most), most) if name in explained):
        heats, sizes, probability = explained[network]
        chances = [f"p({positive}) = {p:.2f}" for p in probability[places]]
        last = {sizes[method]: method for method in heats if method.name == ATTENTION}
        for method in [Method(GRAD_CAM, LAST_MAP), *reversed(last.values())]:
            how = "Grad-CAM" if method.name == GRAD_CAM else f"attention {method.layer}"
            title = network_title(network).replace(" + ", "\n+ ")
            label = f"{title}\n{how}\n{sizes[method][0]} × {sizes[method][1]}"
            captions = chances if method.name == GRAD_CAM else [""] * len(places)
            rows.append(HeatRow(label, heats[method][places], captions))
    return rows


def _regions(config: AttentiveTransferConfig) -> tuple["Figure", dict[str, Any]]:
    """Draw the contact sheet of the training slices' regions; count fallbacks, and coverage where lobes are known."""
    data, table = open_dataset(config.sstl_m.dataset), config.sstl_m.boxes
    rows = data.rows(split="train", labelled=False)
    rows = rows[np.argsort(data.manifest["image_id"].iloc[rows], kind="stable")]
    images = grey_images(data, rows)
    boxes, has_lungs = locate(images, table=table)
    places = sheet_places(has_lungs)
    cases = [region_case(images[i], boxes[i], lung_mask(images[i]), found=bool(has_lungs[i])) for i in places]
    masks = _masks(data, rows, data.meta.size)
    return region_sheet(cases, REGIONS), {
        "dataset": config.sstl_m.dataset,
        "split": "train",
        "boxes": table,
        "images": len(rows),
        "without_lungs": int((~has_lungs).sum()),
        "coverage": None if masks is None else _coverage(images, masks),
        "slices": data.manifest["image_id"].iloc[rows[places]].tolist(),
    }


def _coverage(images: NDArray[np.uint8], masks: NDArray[np.uint8]) -> dict[str, dict[str, float | None]]:
    """Return the share of each lobe that its box covers, by table of boxes."""
    return {table: coverage(masks, locate(images, table=table).boxes).share() for table in TABLES}


def phantom_coverage() -> dict[str, Any]:
    """Return the coverage on phantom slices, independent of the data set: by pose of the patient and table of boxes."""
    phantoms = {pose: draw_posed(pose, count=PHANTOMS, seed=0) for pose in POSES}
    shares = {
        pose: _coverage(np.stack([one.image for one in slices]), np.stack([one.mask for one in slices]))
        for pose, slices in phantoms.items()
    }
    return {"slices": PHANTOMS, "coverage": shares}


def _masks(data: PackedDataset, rows: Rows, crop: int) -> NDArray[np.uint8] | None:
    """Return the masks of rows, cropped like the evaluation view; None if a row has no mask."""
    places = data.manifest["mask_row"].to_numpy()[rows]
    return None if data.masks is None or (places < 0).any() else _centre(np.asarray(data.masks[places]), crop)


def _centre(images: NDArray[Any], crop: int) -> NDArray[Any]:
    top, left = ((side - crop) // 2 for side in images.shape[-2:])
    return images[..., top : top + crop, left : left + crop]
