"""Every explanation that a network can give, by name and layer. A new method is a function and an entry here."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from medtransfer.explain.attention_maps import attention_maps, inputs_of_layers
from medtransfer.explain.capture import undisturbed
from medtransfer.explain.gradcam import grad_cam
from medtransfer.explain.relevance import relevance_map
from medtransfer.explain.transformer_pass import has_transformer
from medtransfer.models.classifier import Classifier

GRAD_CAM, ATTENTION, LAST_MAP = "grad_cam", "attention", "last map"


@dataclass(frozen=True)
class Method:
    """One kind of heat: its name and the layer that it reads."""

    name: str
    layer: str


RELEVANCE = Method("relevance", "transformer")


def heat_maps(
    model: Classifier, images: Float[Tensor, "batch 3 h w"], output: int
) -> dict[Method, Float[Tensor, "batch {images.shape[2]} {images.shape[3]}"]]:
    """Return Grad-CAM, relevance through a transformer, attention of every ATTN layer; on 0–1 at the images' size.

    Args:
        model: a network.
        images: normalised images.
        output: column of the logit that Grad-CAM and relevance explain.
    """
    heats = {Method(GRAD_CAM, LAST_MAP): grad_cam(model, images, output)}
    if has_transformer(model):
        heats[RELEVANCE] = relevance_map(model, images, output)
    return heats | {Method(ATTENTION, site): heat for site, heat in attention_maps(model, images).items()}


def heat_over(model: Classifier, batches: Iterable[Tensor], output: int) -> dict[Method, NDArray[np.float32]]:
    """Return ``heat_maps`` of batches ``[B, 3, h, w]`` of any lengths, joined as arrays ``[N, h, w]``."""
    parts: dict[Method, list[NDArray[np.float32]]] = {}
    for images in batches:
        for method, heat in heat_maps(model, images, output).items():
            parts.setdefault(method, []).append(heat.float().cpu().numpy())
    return {method: np.concatenate(heats) for method, heats in parts.items()}


@torch.no_grad()
def map_sizes(model: Classifier, images: Float[Tensor, "batch 3 h w"]) -> dict[Method, tuple[int, int]]:
    """Return rows and columns of the maps that each method reads: heat is no finer than these."""
    with undisturbed(model):
        maps = {Method(GRAD_CAM, LAST_MAP): model.feature_map(images)}
    if has_transformer(model):
        maps[RELEVANCE] = maps[Method(GRAD_CAM, LAST_MAP)]  # a token is a position of that map
    maps |= {Method(ATTENTION, site): seen for site, seen in inputs_of_layers(model, images).items()}
    return {method: (seen.shape[2], seen.shape[3]) for method, seen in maps.items()}
