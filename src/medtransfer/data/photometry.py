"""Batched changes of brightness and colour with one random strength per image; images are on 0–1.

Definitions follow ITU-R BT.601 (luma) and the usual hexcone HSV model (Smith 1978), as torchvision's do; the order
of the four jitter steps is drawn once per batch.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
SIGMA = (0.1, 2.0)
"""Narrowest and widest blur (SimCLR, appendix A)."""


def chance(generator: torch.Generator, batch: int, probability: float) -> Bool[Tensor, " batch"]:
    """Draw for every image whether an operation happens."""
    return torch.rand(batch, generator=generator, device=generator.device) < probability


def uniform(generator: torch.Generator, batch: int, low: float, high: float) -> Float[Tensor, " batch"]:
    """Draw one number per image from [low, high)."""
    return torch.rand(batch, generator=generator, device=generator.device) * (high - low) + low


def luma(images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 1 height width"]:
    """Return the grey value 0.299 R + 0.587 G + 0.114 B."""
    weights = torch.tensor(LUMA, device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)


def jitter(
    images: Float[Tensor, "batch channels height width"],
    strengths: tuple[float, float, float, float],
    probability: float,
    generator: torch.Generator,
) -> Float[Tensor, "batch channels height width"]:
    """Change brightness, contrast, saturation and hue of each chosen image by its own factors.

    Args:
        images: one or three channels on 0–1; on one channel saturation and hue are the identity.
        strengths: s of brightness, contrast and saturation: a factor from [max(0, 1 − s), 1 + s]; of hue: a turn
            from [−s, s].
        probability: chance of an image to be changed at all.
        generator: source of every draw.
    """
    batch = images.shape[0]
    chosen = chance(generator, batch, probability).to(images.device)
    *factors, turn = (
        uniform(generator, batch, max(-s, lowest), s).to(images.device)
        for s, lowest in zip(strengths, (-1.0, -1.0, -1.0, -0.5), strict=True)
    )
    order = torch.randperm(4, generator=generator, device=generator.device).tolist()
    bright, contrasted, saturated = (torch.where(chosen, 1 + f, 1.0).view(-1, 1, 1, 1) for f in factors)
    steps: list[Callable[[Tensor], Tensor]] = [
        partial(_brightness, factor=bright),
        partial(_contrast, factor=contrasted),
        partial(_saturation, factor=saturated),
        partial(_hue, chosen=chosen, turn=turn),
    ]
    colour = images.shape[1] == 3
    for step in order:
        if strengths[step] > 0 and (colour or step < 2):
            images = steps[step](images)
    return images


def grayscale(
    images: Float[Tensor, "batch channels height width"], probability: float, generator: torch.Generator
) -> Float[Tensor, "batch channels height width"]:
    """Replace each chosen colour image by its luma in all channels; one-channel images are returned as they are."""
    chosen = chance(generator, images.shape[0], probability).to(images.device)
    return images if images.shape[1] == 1 else torch.where(chosen.view(-1, 1, 1, 1), luma(images), images)


def blur(
    images: Float[Tensor, "batch channels height width"],
    probability: float,
    generator: torch.Generator,
) -> Float[Tensor, "batch channels height width"]:
    """Blur each chosen image by a Gaussian whose σ in pixels is drawn from ``SIGMA``.

    The kernel reaches 3 σ of the widest; borders are reflected.
    """
    batch, channels, height, width = images.shape
    chosen = chance(generator, batch, probability).to(images.device)
    widths = uniform(generator, batch, *SIGMA).to(images.device)
    rows = chosen.nonzero()[:, 0]
    if len(rows) == 0:
        return images
    reach = min(int(3 * SIGMA[1]), height - 1, width - 1)
    offsets = torch.arange(-reach, reach + 1, device=images.device)
    kernels = torch.exp(-0.5 * (offsets / widths[rows, None]) ** 2)
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    groups = len(rows) * channels
    padded = F.pad(images[rows], (reach, reach, reach, reach), mode="reflect").flatten(0, 1)[None]
    across = F.conv2d(padded, kernels[:, None, None, :], groups=groups)
    blurred = F.conv2d(across, kernels[:, None, :, None], groups=groups)
    return images.index_copy(0, rows, blurred.view(len(rows), channels, height, width))


def _brightness(images: Tensor, factor: Tensor) -> Tensor:
    return (images * factor).clamp_(0, 1)


def _contrast(images: Tensor, factor: Tensor) -> Tensor:
    grey = luma(images) if images.shape[1] == 3 else images
    mean = grey.mean((1, 2, 3), keepdim=True)
    return (images - mean).mul_(factor).add_(mean).clamp_(0, 1)


def _saturation(images: Tensor, factor: Tensor) -> Tensor:
    grey = luma(images)
    return (images - grey).mul_(factor).add_(grey).clamp_(0, 1)


def _hue(images: Tensor, chosen: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue of the chosen images by ``turn`` (1 = full circle) at constant value and saturation."""
    rows = chosen.nonzero()[:, 0]
    hue, saturation, value = _to_hsv(images[rows])
    hue = (hue + turn[rows].view(-1, 1, 1)) % 1.0
    return images.index_copy(0, rows, _from_hsv(hue, saturation, value))


def _to_hsv(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    value, largest = images.max(1)
    spread = value - images.amin(1)
    safe = torch.where(spread > 0, spread, 1.0)
    red, green, blue = images.unbind(1)
    sextants = torch.stack([(green - blue) / safe, 2 + (blue - red) / safe, 4 + (red - green) / safe])
    hue = sextants.gather(0, largest[None])[0] / 6 % 1.0
    return hue, spread / torch.where(value > 0, value, 1.0), value


def _from_hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Return red, green, blue: channel n is v − v·s·max(0, min(k, 4 − k, 1)) with k = (n + 6 h) mod 6, n = 5, 3, 1."""
    start = torch.tensor([5.0, 3.0, 1.0], device=hue.device, dtype=hue.dtype).view(1, 3, 1, 1)
    k = (start + 6 * hue[:, None]) % 6
    return value[:, None] * (1 - saturation[:, None] * torch.minimum(k, 4 - k).clamp(0, 1))
