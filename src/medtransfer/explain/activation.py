"""Activation maximisation as West et al. 2020 used it (keras-vis): the image that a unit responds to most."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from medtransfer.config import Config
from medtransfer.errors import ModelError
from medtransfer.explain.capture import undisturbed
from medtransfer.explain.layers import named_layer, outputs_of

Image = Float[Tensor, "batch channels h w"]
DECAY, EPSILON = 0.95, 1e-7


class MaximizationConfig(Config):
    """How an image is searched; the defaults are keras-vis's, with the paper's number of iterations.

    Attributes:
        iterations: gradient steps.
        activation_weight: of the unit's activation, which is maximised.
        norm_weight: of the L6 norm per value, which is minimised.
        variation_weight: of the total variation per value, which is minimised.
        jitter: largest shift before each step, as a share of the side; wraps around and is not undone.
        rate: step of RMSProp, grey levels of 0–255.
        seed: of the start noise and the shifts.
    """

    iterations: int = Field(default=2048, ge=1)
    activation_weight: float = Field(default=1.0, ge=0)
    norm_weight: float = Field(default=10.0, ge=0)
    variation_weight: float = Field(default=10.0, ge=0)
    jitter: float = Field(default=0.0, ge=0, lt=1)
    rate: float = Field(default=1.0, gt=0)
    seed: int = Field(default=0, ge=0)


def preset(figure: Literal["2a", "2b", "3"]) -> MaximizationConfig:
    """Return the settings of a figure of West et al.: 2a the defaults, 2b and 3 jitter without total variation."""
    return MaximizationConfig() if figure == "2a" else MaximizationConfig(jitter=0.05, variation_weight=0.0)


def class_unit(output: int, *, sign: int = 1) -> Callable[[Tensor], Tensor]:
    """Return the unit of a logit, or with ``sign`` −1 of its negative (W-7)."""
    return lambda outputs: sign * outputs[:, output]


def filter_unit(number: int) -> Callable[[Tensor], Tensor]:
    """Return the unit of one filter of a convolution: the mean of its map."""
    return lambda outputs: outputs[:, number].mean((1, 2))


def filter_units(numbers: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """Return the units of several filters, one for each image of a batch."""
    return lambda outputs: outputs[range(len(numbers)), list(numbers)].mean((1, 2))


def maximize(
    model: nn.Module,
    unit: Callable[[Tensor], Tensor],
    config: MaximizationConfig,
    *,
    shape: tuple[int, int, int],
    normalize: Callable[[Image], Image],
    layer: str = "",
) -> Float[Tensor, "channels h w"]:
    """Return the image on 0–255 to which a unit responds most: of those after each step, that with the lowest loss.

    Args:
        model: any network.
        unit: ``class_unit`` or ``filter_unit``; from the output of ``layer`` to one number per image.
        config: how it is searched.
        shape: channels, height, width.
        normalize: from grey levels 0–255 to the network's input.
        layer: whose output the unit reads; the network's own if empty.

    Raises:
        ModelError: the layer or the unit does not exist.
    """
    return maximize_all(model, unit, config, count=1, shape=shape, normalize=normalize, layer=layer)[0]


def maximize_all(
    model: nn.Module,
    unit: Callable[[Tensor], Tensor],
    config: MaximizationConfig,
    *,
    count: int,
    shape: tuple[int, int, int],
    normalize: Callable[[Image], Image],
    layer: str = "",
) -> Float[Tensor, "batch channels h w"]:
    """Return an image for each of ``count`` units, searched side by side, each with noise of its own.

    Arguments and errors as of :func:`maximize`; ``unit`` gives the number of unit i for image i.
    """
    module = named_layer(model, layer) if layer else model
    generator = torch.Generator().manual_seed(config.seed)
    noise = [start_noise(shape, generator) for _ in range(count)]
    image = torch.cat(noise).to(next(model.parameters()).device)
    cache, best, lowest = torch.zeros_like(image), image, image.new_full((count,), float("inf"))
    reach = [int(side * config.jitter) for side in shape[1:]]
    with undisturbed(model), outputs_of(module) as seen:
        for _ in range(config.iterations):
            shifts = [int(torch.randint(-far, far + 1, (), generator=generator)) for far in reach]
            leaf = image.roll(shifts, (2, 3)).detach().requires_grad_()
            with torch.enable_grad():
                seen.clear()
                model(normalize(leaf))
                loss = objective(_activation(unit, seen[-1], layer), leaf, config)
                (gradient,) = torch.autograd.grad(loss.sum(), leaf)
            step, cache = rmsprop_step(gradient, cache)
            image = leaf.detach() + config.rate * step
            better = loss.detach() < lowest
            lowest = torch.where(better, loss.detach(), lowest)
            best = torch.where(better[:, None, None, None], image, best)
    return torch.stack([deprocess(one) for one in best])


def start_noise(shape: tuple[int, int, int], generator: torch.Generator) -> Float[Tensor, "1 channels h w"]:
    """Return uniform noise with mean 127.5 and standard deviation 12.75."""
    noise = torch.rand(1, *shape, generator=generator)
    return (noise - noise.mean()) / (noise.std(correction=0) + EPSILON) * 0.05 * 255 + 127.5


def objective(activation: Float[Tensor, " batch"], image: Image, config: MaximizationConfig) -> Tensor:
    """Return the loss of each image: − activation + norm and total variation, each per value of the image."""
    loss = -config.activation_weight * activation
    if config.norm_weight:
        loss = loss + config.norm_weight * l6_norm(image)
    return loss + config.variation_weight * total_variation(image) if config.variation_weight else loss


def l6_norm(image: Image) -> Float[Tensor, " batch"]:
    """Return ``(Σ |x|⁶)^(1/6)`` per value, by image."""
    # sixth powers of grey levels are large in float32
    top = image.detach().abs().amax((1, 2, 3), keepdim=True).clamp(min=EPSILON)
    root = (image / top).abs().pow(6).sum((1, 2, 3)).pow(1 / 6)
    return top[:, 0, 0, 0] * root / image[0].numel()


def total_variation(image: Image) -> Float[Tensor, " batch"]:
    """Return the squared differences of neighbours (β = 2) over the (h − 1) × (w − 1) grid, per value, by image."""
    down = image[:, :, 1:, :-1] - image[:, :, :-1, :-1]
    across = image[:, :, :-1, 1:] - image[:, :, :-1, :-1]
    return (down.square() + across.square()).sum((1, 2, 3)) / image[0].numel()


def rmsprop_step(gradient: Image, cache: Image) -> tuple[Image, Image]:
    """Return the step and the new cache for a gradient, which is scaled to length 1 first, image by image."""
    length = gradient.flatten(1).norm(dim=1).clamp(min=EPSILON)
    unit = gradient / length[:, None, None, None]
    cache = DECAY * cache + (1 - DECAY) * unit.square()
    return -unit / (cache + EPSILON).sqrt(), cache


def deprocess(image: Tensor) -> Tensor:
    """Return an image for the eye on 0–255: mean 0.5 and standard deviation 0.1 of the range, clipped."""
    standard = (image - image.mean()) / (image.std(correction=0) + EPSILON)
    return (standard * 0.1 + 0.5).clamp(0, 1) * 255


def _activation(unit: Callable[[Tensor], Tensor], outputs: Tensor, layer: str) -> Tensor:
    try:
        return unit(outputs)
    except IndexError as error:
        shape = list(outputs.shape[1:])
        raise ModelError(
            f"no such unit in {layer or 'the output'}, whose shape is {shape}; take one of these"
        ) from error
