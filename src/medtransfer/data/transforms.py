"""Batched augmentation and the evaluation view: every image its own random numbers.

Geometry is one step: integer crops and flips copy pixels; rotation, translation and resized crops sample once,
bilinearly. Only the copy of crops on a CPU loops over images. Later steps work in place where they can,
because memory costs more than arithmetic. Grey images (one channel) stay one channel until the end, where three
channels are shown by a view that shares memory; saturation, hue and greyscale are the identity on them and are skipped.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from pydantic import Field
from torch import Tensor

from medtransfer.config import Config
from medtransfer.data.photometry import blur, chance, grayscale, jitter, uniform
from medtransfer.data.windows import (
    centre_crop,
    copy_windows,
    gather_windows,
    oversample,
    require_room,
    rescale,
    to_unit,
)

TRIES = 10
ASPECT = (3 / 4, 4 / 3)
_HALF = 0.5
"""Share of a resampled pixel from which on it counts as lung."""


class AugmentConfig(Config):
    """One recipe of random changes; everything but the crop is off by default.

    Attributes:
        crop: side of the result in pixels.
        crop_style: ``random`` cuts ``crop`` × ``crop`` pixels; ``resized`` cuts a box of ``crop_scale`` of the area and
            an aspect of 3/4 to 4/3 and resizes it (Szegedy et al. 2015; the crop of MoCo and SimCLR).
        crop_scale: smallest and largest share of the area, for ``resized``.
        hflip: probability of a left-right flip.
        translate: largest shift as a share of the side, both axes.
        rotate: largest angle in degrees.
        intensity: largest grey-level shift on 0–1.
        each: probability of translation, of rotation and of the intensity shift, drawn independently.
        jitter: strengths of brightness, contrast, saturation and hue.
        jitter_p: probability of the jitter.
        grayscale: probability of greyscale.
        blur: probability of a Gaussian blur, σ 0.1–2 pixels.
    """

    crop: int = Field(gt=0)
    crop_style: Literal["random", "resized"] = "random"
    crop_scale: tuple[float, float] = (0.2, 1.0)
    hflip: float = Field(0.0, ge=0, le=1)
    translate: float = Field(0.0, ge=0, lt=1)
    rotate: float = Field(0.0, ge=0, le=180)
    intensity: float = Field(0.0, ge=0, le=1)
    each: float = Field(1.0, ge=0, le=1)
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    jitter_p: float = Field(1.0, ge=0, le=1)
    grayscale: float = Field(0.0, ge=0, le=1)
    blur: float = Field(0.0, ge=0, le=1)


class View(NamedTuple):
    """Randomly changed images, with what belongs to them."""

    image: Float[Tensor, "batch 3 crop crop"]
    lungs: Bool[Tensor, "batch crop crop"] | None
    """Masks under the same geometry, if any were given."""
    mirrored: Bool[Tensor, " batch"]
    """Which images were flipped: left and right have changed places in them."""


def augment(
    images: Shaped[Tensor, "batch channels height width"],
    config: AugmentConfig,
    generator: torch.Generator,
    *,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
) -> Float[Tensor, "batch 3 crop crop"]:
    """Return randomly changed, normalised images; see ``augmented_view``."""
    return augmented_view(images, config, generator, mean=mean, std=std).image


def augmented_view(
    images: Shaped[Tensor, "batch channels height width"],
    config: AugmentConfig,
    generator: torch.Generator,
    *,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    lungs: Bool[Tensor, "batch height width"] | None = None,
) -> View:
    """Return randomly changed, normalised images, and their masks under the same crop, turn, shift and flip.

    Example:
        recipe = AugmentConfig(crop=64, hflip=0.5, rotate=10.0)
        images = augmented_view(images, recipe, torch.Generator().manual_seed(0)).image

    Args:
        images: uint8, uint16, or float on 0–1; one or three channels.
        config: the recipe.
        generator: source of every draw; on the CPU it gives the same draws for images on any device.
        mean: one or three values on 0–1, subtracted at the end.
        std: one or three values on 0–1, divided by at the end.
        lungs: a mask of every image; what comes in from outside the image is no lung.

    Raises:
        ConfigError: the crop is larger than the images.
    """
    require_room(images, config.crop)
    masks = () if lungs is None else (lungs[:, None].float(),)
    flip, (images, *moved) = _geometry((images, *masks), config, generator)
    if config.intensity > 0:
        images = _shift_intensity(images, config, generator)
    if any(config.jitter):
        images = jitter(images, config.jitter, config.jitter_p, generator)
    if config.grayscale > 0:
        images = grayscale(images, config.grayscale, generator)
    if config.blur > 0:
        images = blur(images, config.blur, generator)
    return View(_normalize(images, mean, std), moved[0][:, 0] >= _HALF if moved else None, flip)


def evaluate_view(
    images: Shaped[Tensor, "batch channels height width"],
    crop: int,
    *,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
) -> Float[Tensor, "batch 3 crop crop"]:
    """Return the centre crop, normalised: the only view that validation and test rows are seen in.

    Args:
        images: uint8, uint16, or float on 0–1; one or three channels.
        crop: side of the result in pixels.
        mean: as for ``augment``.
        std: as for ``augment``.

    Raises:
        ConfigError: the crop is larger than the images.
    """
    centre = centre_crop(images, crop)
    return _normalize(rescale(centre.to(torch.float32, copy=True), images.dtype), mean, std)


def _normalize(fresh: Tensor, mean: Sequence[float], std: Sequence[float]) -> Float[Tensor, "batch 3 height width"]:
    """Subtract the mean, divide by the standard deviation, in place, and show three channels.

    One channel with one mean stays one in memory (a view); with three means it becomes three.
    """
    centre = fresh.new_tensor(mean).view(1, -1, 1, 1)
    scale = fresh.new_tensor(std).view(1, -1, 1, 1)
    centred = fresh - centre if len(mean) > fresh.shape[1] else fresh.sub_(centre)
    return centred.div_(scale).expand(-1, 3, -1, -1)


def _geometry(
    together: Sequence[Tensor], config: AugmentConfig, generator: torch.Generator
) -> tuple[Tensor, list[Tensor]]:
    """Return which images are flipped ``[batch]``, and the images and what else has their size, all moved alike."""
    images = together[0]
    batch = images.shape[0]
    flip = chance(generator, batch, config.hflip)
    if config.crop_style == "random" and config.translate == 0 and config.rotate == 0:
        top, left = (_integers(generator, batch, side - config.crop) for side in images.shape[-2:])
        cut = copy_windows if images.device.type == "cpu" else gather_windows
        return flip, [cut(each, config.crop, (top, left, flip)) for each in together]
    box = _draw_boxes(images.shape, config, generator)
    theta = _turn_and_shift(box, flip, images.shape, config, generator).to(images.device)
    over = oversample(images, config.crop)
    grid = F.affine_grid(theta, [batch, 1, config.crop * over, config.crop * over], align_corners=False)
    # what a turn or a shift brings in from outside is black; a plain crop has no outside
    padding = "zeros" if config.translate > 0 or config.rotate > 0 else "border"
    sampled = [F.grid_sample(to_unit(each), grid, padding_mode=padding, align_corners=False) for each in together]
    return flip, [F.avg_pool2d(each, over) if over > 1 else each for each in sampled]


def _draw_boxes(shape: torch.Size, config: AugmentConfig, generator: torch.Generator) -> Float[Tensor, "batch 4"]:
    """Draw crop boxes (centre x, centre y, width, height in pixels)."""
    batch, _, height, width = shape
    if config.crop_style == "random":
        w = h = torch.full((batch,), config.crop, device=generator.device)
    else:
        w, h = _resized_sides(batch, (height, width), config.crop_scale, generator)
    left = (torch.rand(batch, generator=generator, device=w.device) * (width - w + 1)).floor()
    top = (torch.rand(batch, generator=generator, device=w.device) * (height - h + 1)).floor()
    return torch.stack([left + w / 2, top + h / 2, w, h], 1)


def _resized_sides(
    batch: int, sides: tuple[int, int], scale: tuple[float, float], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw width and height: uniform area, log-uniform aspect, the first of ten tries that fits, else everything."""
    height, width = sides
    area = uniform(generator, batch * TRIES, *scale).view(batch, TRIES) * height * width
    low, high = (math.log(a) for a in ASPECT)
    aspect = uniform(generator, batch * TRIES, low, high).exp().view(batch, TRIES)
    w, h = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (w > 0) & (h > 0) & (w <= width) & (h <= height)
    first = fits.int().argmax(1, keepdim=True)
    any_fits = fits.any(1)
    w = torch.where(any_fits, w.gather(1, first)[:, 0], width)
    return w, torch.where(any_fits, h.gather(1, first)[:, 0], height)


def _turn_and_shift(
    box: Tensor, flip: Tensor, shape: torch.Size, config: AugmentConfig, generator: torch.Generator
) -> Float[Tensor, "batch 2 3"]:
    """Return the matrices from the result's coordinates to the image's, both on −1 to 1.

    A point of the box is taken back by the shift, then turned back about the image's centre.
    """
    batch, _, height, width = shape
    shift = [
        uniform(generator, batch, -config.translate, config.translate) * side * chance(generator, batch, config.each)
        for side in (width, height)
    ]
    angle = uniform(generator, batch, -config.rotate, config.rotate) * chance(generator, batch, config.each)
    cos, sin = torch.cos(torch.deg2rad(angle)), torch.sin(torch.deg2rad(angle))
    mirrored = torch.where(flip, -1.0, 1.0)
    half_w, half_h = box[:, 2] / 2 * mirrored, box[:, 3] / 2
    x, y = box[:, 0] - width / 2 - shift[0], box[:, 1] - height / 2 - shift[1]
    across = torch.stack([cos * half_w, sin * half_h, cos * x + sin * y], 1) * (2 / width)
    down = torch.stack([-sin * half_w, cos * half_h, cos * y - sin * x], 1) * (2 / height)
    return torch.stack([across, down], 1)


def _shift_intensity(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    batch = images.shape[0]
    shift = uniform(generator, batch, -config.intensity, config.intensity) * chance(generator, batch, config.each)
    return images.add_(shift.to(images.device).view(-1, 1, 1, 1)).clamp_(0, 1)


def _integers(generator: torch.Generator, batch: int, largest: int) -> Int[Tensor, " batch"]:
    return torch.randint(largest + 1, (batch,), generator=generator, device=generator.device)
