"""The random changes of Keras' ``ImageDataGenerator`` with their exact meaning (West et al. 2020, section 2.2).

Every image has its own draws, a function of (seed, pass, row), so a view can be made again alone.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from pydantic import Field, NonNegativeFloat, model_validator
from torch import Tensor

from medtransfer.config import Config
from medtransfer.data.loaders import Batch, Loader, counter_seed
from medtransfer.data.windows import centre_crop, to_unit

DRAWS = 8
"""Uniform numbers per image: angle, size and sign of the shift, both zooms, flip, channel shift, brightness."""


class KerasAugmentConfig(Config):
    """One recipe; everything is off by default. Lines and columns outside of the image repeat its border.

    Attributes:
        horizontal_flip: flip half of the images.
        width_shift_range: a whole number k draws a whole number of pixels from 0 to k − 1, so that **1 shifts nothing**
            (W-5); a fraction below 1 is the largest share of the width; a fraction from 1.0 on is pixels; of a list,
            one value is drawn. The direction is random.
        zoom_range: z draws a factor for each axis from [1 − z, 1 + z]; above 1 the image shrinks.
        brightness_range: lowest and highest factor; what exceeds white is cut off.
        channel_shift_range: largest shift of all grey levels on 0–255; results stay within the image's own range.
        rotation_range: largest angle in degrees.
        stretch: stretch each image to 0–255 before its brightness changes, as Keras did until June 2020 (W-6).
    """

    horizontal_flip: bool = False
    width_shift_range: int | float | tuple[float, ...] = Field(default=0, union_mode="smart")
    zoom_range: float = Field(default=0.0, ge=0, lt=1)
    brightness_range: tuple[NonNegativeFloat, NonNegativeFloat] | None = None
    channel_shift_range: float = Field(default=0.0, ge=0, le=255)
    rotation_range: float = Field(default=0.0, ge=0, le=180)
    stretch: bool = False

    @model_validator(mode="after")
    def _ranges(self) -> "KerasAugmentConfig":
        if np.min(self.width_shift_range) < 0:
            raise ValueError(f"width_shift_range is {self.width_shift_range}, expected no negative number")
        if self.brightness_range and self.brightness_range[0] > self.brightness_range[1]:
            raise ValueError(f"brightness_range is {self.brightness_range}, expected the smaller factor first")
        return self

    @property
    def changes(self) -> bool:
        """Whether any image is ever changed."""
        shift = self.width_shift_range
        shifts = shift > 1 if isinstance(shift, int) else bool(np.any(shift))
        others = self.model_dump(exclude={"width_shift_range", "stretch"})
        return shifts or any(others.values())


class KerasLoader(Loader):
    """Training batches under a recipe of Keras; else as :class:`Loader`.

    With ``views`` the images of an epoch are those of the epoch so many epochs before: K views of every image in turn.
    """

    def __init__(self, *args: Any, recipe: KerasAugmentConfig, views: int | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.recipe, self.repeated = recipe, views

    def batch(self, epoch: int, step: int) -> Batch:
        """Return one batch; the same numbers always give the same batch.

        Raises:
            IndexError: the step is not in the epoch.
        """
        if not 0 <= step < self.steps:
            raise IndexError(f"step {step} is not one of the epoch's {self.steps} steps")
        everywhere = self._order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]
        rows = np.array_split(everywhere, self.world)[self.rank]
        batch = {"index": torch.from_numpy(rows), "target": torch.from_numpy(self.targets[rows])}
        return {key: value.to(self.device) for key, value in batch.items()} | self.seen(rows, self.view_of(epoch))

    def view_of(self, epoch: int) -> int:
        """Return the number of the view that an epoch shows; evaluation has one."""
        if not self.train:
            return 0
        return epoch if self.repeated is None else epoch % self.repeated

    def seen(self, rows: npt.NDArray[np.int64], view: int) -> Batch:
        """Return what a batch holds of the images themselves: ``image``, normalised."""
        return {"image": self.images_of(rows, view)}

    def images_of(self, rows: npt.NDArray[np.int64], view: int) -> Float[Tensor, "batch 3 crop crop"]:
        """Return normalised images of manifest rows in one of their views."""
        images = self._to_device(self.data.images[rows])
        if not self.train:
            return self._view(images, torch.Generator())
        draws = torch.from_numpy(np.stack([_draws(self.seed, view, int(row)) for row in rows]))
        return keras_view(centre_crop(images, self.crop), self.recipe, draws, mean=self.mean, std=self.std)


def keras_view(
    images: Shaped[Tensor, "batch channels height width"],
    recipe: KerasAugmentConfig,
    draws: Float[Tensor, "batch 8"],
    *,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
) -> Float[Tensor, "batch 3 height width"]:
    """Return changed images, normalised: one affine change about the centre, channel shift, flip, brightness.

    Args:
        images: uint8, uint16, or float on 0–1; one or three channels.
        recipe: what changes.
        draws: uniform on 0–1, see ``DRAWS``.
        mean: one or three values on 0–1, subtracted at the end.
        std: one or three values on 0–1, divided by at the end.
    """
    grey = to_unit(images)
    angle, size, sign, across, down, flip, shift, bright = draws.to(grey.device, grey.dtype).unbind(1)
    width = grey.shape[-1]
    pixels = _shift(recipe.width_shift_range, size, sign, width)
    turn = torch.deg2rad((2 * angle - 1) * recipe.rotation_range)
    zooms = [1 + (2 * one - 1) * recipe.zoom_range for one in (across, down)]
    if recipe.rotation_range or recipe.zoom_range or pixels.any():
        grey = _affine(grey, turn, pixels, zooms)
    if recipe.channel_shift_range:
        low, high = grey.amin((1, 2, 3), keepdim=True), grey.amax((1, 2, 3), keepdim=True)
        by = (2 * shift - 1) * (recipe.channel_shift_range / 255)
        grey = torch.clamp(grey + by.view(-1, 1, 1, 1), low, high)
    if recipe.horizontal_flip:
        grey = torch.where((flip < 0.5).view(-1, 1, 1, 1), grey.flip(-1), grey)
    if recipe.brightness_range:
        grey = _brightness(grey, bright, recipe.brightness_range, recipe.stretch)
    centre, scale = (grey.new_tensor(values).view(1, -1, 1, 1) for values in (mean, std))
    return ((grey - centre) / scale).expand(-1, 3, -1, -1)


def _affine(images: Tensor, turn: Tensor, pixels: Tensor, zooms: Sequence[Tensor]) -> Tensor:
    """Sample once: a pixel comes from ``R · T · Z`` of its place, in pixels about the centre (x to the right)."""
    batch, _, height, width = images.shape
    cos, sin = torch.cos(turn), torch.sin(turn)
    # Keras counts (row, column): its R turns (row, column), so that x and y change their roles here
    across = torch.stack([cos * zooms[0], sin * zooms[1] * height / width, cos * pixels * 2 / width], 1)
    down = torch.stack([-sin * zooms[0] * width / height, cos * zooms[1], -sin * pixels * 2 / height], 1)
    grid = F.affine_grid(torch.stack([across, down], 1), [batch, 1, height, width], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _shift(spec: int | float | tuple[float, ...], size: Tensor, sign: Tensor, width: int) -> Tensor:
    """Return the shift of every image in pixels, from draws of its size and sign."""
    if isinstance(spec, float):
        drawn = (2 * size - 1) * spec
    else:
        choices = size.new_tensor(spec if isinstance(spec, tuple) else range(max(spec, 1)))
        drawn = choices[(size * len(choices)).long().clamp(max=len(choices) - 1)] * torch.where(sign < 0.5, -1.0, 1.0)
    return drawn * width if np.max(spec) < 1 else drawn


def _brightness(images: Tensor, draw: Tensor, span: tuple[float, float], stretch: bool) -> Tensor:
    if stretch:
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        images = (images - low) / (high - low).clamp(min=torch.finfo(images.dtype).eps)
    factor = span[0] + draw * (span[1] - span[0])
    return (images * factor.view(-1, 1, 1, 1)).clamp(0, 1)


def _draws(seed: int, view: int, row: int) -> npt.NDArray[np.float64]:
    return np.random.Generator(np.random.Philox(key=counter_seed(seed, view, row))).random(DRAWS)
