"""Explainers by name, which networks each fits, and one way to call them. A new one is a function and an entry here."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from medtransfer.errors import ModelError
from medtransfer.explain.attention_maps import attention_maps
from medtransfer.explain.gradcam import grad_cam
from medtransfer.explain.relevance import relevance_map
from medtransfer.explain.rollout import attention_blocks, attention_rollout
from medtransfer.explain.saliency import saliency
from medtransfer.explain.transformer_pass import has_transformer
from medtransfer.models.classifier import Classifier, attention_layers

TITLES = {
    "grad_cam": "Grad-CAM",
    "saliency": "saliency",
    "smoothed_saliency": "smoothed saliency",
    "attention": "attention",
    "attention_rollout": "attention rollout",
    "relevance": "relevance",
}
SAMPLES, NOISE = 10, 0.15
"""Of smoothed saliency: Smilkov et al. use 10 to 50 samples and noise of 10 to 20 % of the range."""


@dataclass(frozen=True)
class Explainer:
    """One way to make heat: ``heat(model, images, output)``, and whether it fits a network."""

    heat: Callable[[Any, Tensor, int], Tensor]
    fits: Callable[[Classifier], bool]


def _attention(model: Classifier, images: Tensor, _output: int) -> Tensor:
    return list(attention_maps(model, images).values())[-1]


def _rollout(model: nn.Module, images: Tensor, _output: int) -> Tensor:
    return attention_rollout(model, images)


def _always(_model: Classifier) -> bool:
    return True


def _has_layers(model: Classifier) -> bool:
    return bool(attention_layers(model))


def _has_blocks(model: Classifier) -> bool:
    return bool(attention_blocks(model))


def explainers() -> dict[str, Explainer]:
    """Return every explainer by its name."""
    smoothed = partial(saliency, samples=SAMPLES, noise=NOISE)
    return {
        "grad_cam": Explainer(grad_cam, _always),
        "saliency": Explainer(saliency, _always),
        "smoothed_saliency": Explainer(smoothed, _always),
        "attention": Explainer(_attention, _has_layers),
        "attention_rollout": Explainer(_rollout, _has_blocks),
        "relevance": Explainer(relevance_map, has_transformer),
    }


def fitting(model: Classifier) -> tuple[str, ...]:
    """Return the names of the explainers that fit a network."""
    return tuple(name for name, one in explainers().items() if one.fits(model))


def explain(
    name: str, model: Classifier, images: Float[Tensor, "batch 3 h w"], output: int
) -> Float[Tensor, "batch {images.shape[2]} {images.shape[3]}"]:
    """Return the heat of one explainer on 0–1 at the images' size.

    Args:
        name: one of :func:`explainers`.
        model: a network.
        images: normalised images.
        output: column of the class.

    Raises:
        ModelError: the explainer does not exist or does not fit the network; lists those that do.
    """
    known = explainers()
    if name not in known or not known[name].fits(model):
        problem = "does not fit this network" if name in known else "does not exist"
        raise ModelError(f"explainer {name!r} {problem}; those that fit are {', '.join(fitting(model))}")
    return known[name].heat(model, images, output)
