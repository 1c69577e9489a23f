"""Batched augmentation and the evaluation view: every image its own random numbers.

Geometry is one step: integer crops and flips copy pixels; rotation, translation and resized crops sample once,
bilinearly. Only the copy of crops on a CPU loops over images. Later steps work in place where they can,
because memory costs more than arithmetic. Grey images (one channel) stay one channel until the end, where three
channels are shown by a view that shares memory; saturation, hue and greyscale are the identity on them and are skipped.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from pydantic import Field
from torch import Tensor

from medtransfer.config import Config
from medtransfer.data.photometry import blur, chance, grayscale, jitter, uniform
from medtransfer.errors import ConfigError

TRIES = 10
ASPECT = (3 / 4, 4 / 3)


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


def augment(
    images: Shaped[Tensor, "batch channels height width"],
    config: AugmentConfig,
    generator: torch.Generator,
    *,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
) -> Float[Tensor, "batch 3 crop crop"]:
    """Return randomly changed, normalised images.

    Example:
        recipe = AugmentConfig(crop=64, hflip=0.5, rotate=10.0)
        images = augment(images, recipe, torch.Generator().manual_seed(0))

    Args:
        images: uint8, uint16, or float on 0–1; one or three channels.
        config: the recipe.
        generator: source of every draw; on the CPU it gives the same draws for images on any device.
        mean: one or three values on 0–1, subtracted at the end.
        std: one or three values on 0–1, divided by at the end.

    Raises:
        ConfigError: the crop is larger than the images.
    """
    _require_room(images, config.crop)
    images = _geometry(images, config, generator)
    if config.intensity > 0:
        images = _shift_intensity(images, config, generator)
    if any(config.jitter):
        images = jitter(images, config.jitter, config.jitter_p, generator)
    if config.grayscale > 0:
        images = grayscale(images, config.grayscale, generator)
    if config.blur > 0:
        images = blur(images, config.blur, generator)
    return _normalize(images, mean, std)


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
    _require_room(images, crop)
    top, left = ((side - crop) // 2 for side in images.shape[-2:])
    centre = images[..., top : top + crop, left : left + crop]
    return _normalize(_scale(centre.to(torch.float32, copy=True), images.dtype), mean, std)


def crop_boxes(
    images: Shaped[Tensor, "batch channels height width"], boxes: Float[Tensor, "batch regions 4"], size: int
) -> Float[Tensor, "batch*regions channels {size} {size}"]:
    """Cut boxes and resize them bilinearly without aliasing, image-major: the regions of image 0 first.

    Each box at its own scale along each axis: one as large as the result is copied, whatever the image's size.

    Args:
        images: uint8, uint16, or float on 0–1.
        boxes: x0, y0, x1, y1 in pixels, edges of pixels being whole numbers.
        size: side of the result in pixels.

    Returns:
        Images on 0–1, not normalised.
    """
    (batch, channels, height, width), regions = images.shape, boxes.shape[1]
    x0, y0, x1, y1 = boxes.to(images.device, torch.float32).unbind(-1)
    # one matrix per box and axis: every box is filtered by its own scale without a loop over boxes
    down, across = _resampling(y0, y1, height, size), _resampling(x0, x1, width, size)
    # the rows of all boxes of an image in one product, so that no image is repeated in memory
    rows = (down.flatten(1, 2)[:, None] @ to_unit(images)).view(batch, channels, regions, size, width)
    return (rows @ across[:, None].mT).transpose(1, 2).reshape(-1, channels, size, size)


def _resampling(
    first: Float[Tensor, "batch regions"], last: Float[Tensor, "batch regions"], side: int, size: int
) -> Float[Tensor, "batch regions size side"]:
    """Return the weights with which pixels of one axis make up ``size`` pixels between two edges.

    A triangle around each centre, as wide as linear interpolation where the box is enlarged and as wide as two result
    pixels where it shrinks, so that nothing aliases. Pixels beyond an edge of the box count near it; beyond the image
    its outermost pixel goes on.
    """
    step = ((last - first) / size)[..., None, None]
    steps = torch.arange(size, device=first.device)[:, None] + 0.5
    centres = (first[..., None, None] + steps * step).clamp_(0.5, side - 0.5)
    pixels = torch.arange(side, device=first.device) + 0.5
    weights = (1 - (pixels - centres).abs() / step.clamp(min=1)).clamp_(min=0)
    return weights.div_(weights.sum(-1, keepdim=True))


def to_unit(images: Shaped[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Return uint8 or uint16 grey levels as float on 0–1; floats are taken to be there already."""
    if images.dtype.is_floating_point:
        return images
    return _scale(images.to(torch.float32), images.dtype)


def _normalize(fresh: Tensor, mean: Sequence[float], std: Sequence[float]) -> Float[Tensor, "batch 3 height width"]:
    """Subtract the mean, divide by the standard deviation, in place, and show three channels.

    One channel with one mean stays one in memory (a view); with three means it becomes three.
    """
    centre = fresh.new_tensor(mean).view(1, -1, 1, 1)
    scale = fresh.new_tensor(std).view(1, -1, 1, 1)
    centred = fresh - centre if len(mean) > fresh.shape[1] else fresh.sub_(centre)
    return centred.div_(scale).expand(-1, 3, -1, -1)


def _scale(levels: Tensor, dtype: torch.dtype) -> Tensor:
    """Bring float grey levels that were read from another type to 0–1, in place."""
    return levels if dtype.is_floating_point else levels.mul_(1 / torch.iinfo(dtype).max)


def _geometry(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    batch = images.shape[0]
    flip = chance(generator, batch, config.hflip)
    if config.crop_style == "random" and config.translate == 0 and config.rotate == 0:
        top, left = (_integers(generator, batch, side - config.crop) for side in images.shape[-2:])
        if images.device.type == "cpu":
            return _copy_windows(images, config.crop, (top, left, flip))
        return _gather_windows(images, config.crop, (top, left, flip))
    box = _draw_boxes(images.shape, config, generator)
    theta = _turn_and_shift(box, flip, images.shape, config, generator).to(images.device)
    over = _oversample(images, config.crop)
    grid = F.affine_grid(theta, [batch, 1, config.crop * over, config.crop * over], align_corners=False)
    # what a turn or a shift brings in from outside is black; a plain crop has no outside
    padding = "zeros" if config.translate > 0 or config.rotate > 0 else "border"
    sampled = F.grid_sample(to_unit(images), grid, padding_mode=padding, align_corners=False)
    return F.avg_pool2d(sampled, over) if over > 1 else sampled


def _copy_windows(images: Tensor, crop: int, places: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Cut windows at (top, left, flip): on a CPU one converting copy per image is the only pass over pixels."""
    cut = torch.empty((*images.shape[:2], crop, crop))
    for target, image, top, left, flip in zip(cut, images, *(place.tolist() for place in places), strict=True):
        window = image[:, top : top + crop, left : left + crop]
        target.copy_(window.flip(-1) if flip else window)
    return _scale(cut, images.dtype)


def _gather_windows(images: Tensor, crop: int, places: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Cut the same windows by one indexed copy: on a GPU one launch per image would cost more than the pixels."""
    top, left, flip = (place.to(images.device) for place in places)
    images = images if images.dtype == torch.uint8 else to_unit(images)
    windows = images.unfold(2, crop, 1).unfold(3, crop, 1)
    cut = windows[torch.arange(len(images), device=images.device), :, top, left]
    return to_unit(torch.where(flip.view(-1, 1, 1, 1), cut.flip(-1), cut))


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


def _oversample(images: Tensor, size: int) -> int:
    """Return how many samples a result pixel averages along each side, so that shrinking does not alias."""
    return max(1, min(images.shape[-2:]) // size)


def _require_room(images: Tensor, crop: int) -> None:
    if crop > min(images.shape[-2:]):
        raise ConfigError(
            f"crop {crop} is larger than the images ({images.shape[-2]} × {images.shape[-1]} pixels): "
            "expected at most their side; lower the crop or pack the data set larger"
        )
