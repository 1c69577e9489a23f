"""What ATTN layers attend to: the heat maps of Fig. 4 of Liu & Ji 2021."""

from contextlib import ExitStack

import torch
from jaxtyping import Float
from torch import Tensor

from medtransfer.explain.capture import inputs_of, to_unit_heat, undisturbed
from medtransfer.models.classifier import Classifier, attention_layers


@torch.no_grad()
def attention_maps(
    model: Classifier, images: Float[Tensor, "batch 3 h w"]
) -> dict[str, Float[Tensor, "batch {images.shape[2]} {images.shape[3]}"]]:
    """Return, for each ATTN layer by its site, how much all positions together attend to each place, on 0–1.

    ``heat[k] = mean_q A[q, k]`` at the resolution of the layer, then resized to the images. Averaging over keys
    instead would give a constant. A layer that attends to all places alike gives 0 everywhere. The last entry is what
    Fig. 4 of the paper shows; a plain network has none.

    Args:
        model: any network with named ATTN layers.
        images: normalised images.
    """
    layers, size = attention_layers(model), (images.shape[2], images.shape[3])
    with undisturbed(model):
        seen = inputs_of_layers(model, images)
        return {site: to_unit_heat(layer.heat_map(seen[site]), size) for site, layer in layers.items()}


@torch.no_grad()
def inputs_of_layers(model: Classifier, images: Float[Tensor, "batch 3 h w"]) -> dict[str, Tensor]:
    """Return the map ``[B, C, rows, columns]`` that enters each ATTN layer, by its site, from one forward pass."""
    with undisturbed(model), ExitStack() as stack:
        seen = {site: stack.enter_context(inputs_of(layer)) for site, layer in attention_layers(model).items()}
        model.feature_map(images)
        return {site: maps[0] for site, maps in seen.items()}
