"""Six zones of the lungs, and the largest value of a map in each of them (ROI max-pooling)."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

ZONES = 6
"""Patient's right upper, middle, lower, then left upper, middle, lower; the right lung is in the image's left half."""
OUTSIDE = -1
EMPTY = -1e4
"""Logit of a zone that has no lung: its probability is 0 in every precision, and no gradient reaches it."""

Lines = Literal["lung", "image"]
Cuts = tuple[tuple[int, int], tuple[int, int]]
CUTS: Cuts = ((5, 12), (2, 3))
"""Where a height is cut, as shares of whole numbers, so that rounding is exact (Park et al. 2022, section 3.4)."""


def lung_zones(
    lungs: Bool[Tensor, "batch h w"], *, lines: Lines = "lung", cuts: Cuts = CUTS
) -> Int[Tensor, "batch h w"]:
    """Return the zone of every pixel, ``OUTSIDE`` where there is no lung.

    In each half of the image a height is cut at two shares, rounded to whole rows.

    Args:
        lungs: masks of both lungs.
        lines: whose height is cut: that of the ``lung`` in this half, from its first to its last row, or the
            ``image``'s.
        cuts: shares of the height, numerator and denominator.
    """
    height, width = lungs.shape[1:]
    zones = torch.full(lungs.shape, OUTSIDE, dtype=torch.int8, device=lungs.device)
    row = torch.arange(height, device=lungs.device)
    for side, columns in enumerate(_halves(width)):
        lung = lungs[:, :, columns]
        top, bottom = (
            _extent(lung) if lines == "lung" else (row.new_zeros(len(lungs)), row.new_full([len(lungs)], height))
        )
        # ⌊n·a/b + 1/2⌋ in whole numbers
        first, second = (top + (2 * (bottom - top) * a + b) // (2 * b) for a, b in cuts)
        level = (row >= first[:, None]).to(torch.int8) + (row >= second[:, None]).to(torch.int8)
        zones[:, :, columns] = torch.where(lung, (level + 3 * side)[:, :, None], OUTSIDE)
    return zones


def zone_maxima(
    maps: Float[Tensor, "batch h w"],
    lungs: Bool[Tensor, "batch h w"],
    *,
    empty: float,
    lines: Lines = "lung",
    cuts: Cuts = CUTS,
) -> Float[Tensor, "batch 6"]:
    """Return the largest value of every zone; ``empty``, without a gradient, where a zone has no lung.

    Of probabilities with ``empty=0`` this is Eq. 9 of Park et al. 2022, the maximum of severity map × mask. The
    sigmoid keeps the order, so the maxima of logits with ``empty=EMPTY`` are the logits of the same numbers.

    Args:
        maps: values per pixel.
        lungs: masks of both lungs.
        empty: value of a zone without lung.
        lines: see ``lung_zones``.
        cuts: see ``lung_zones``.
    """
    zones = lung_zones(lungs, lines=lines, cuts=cuts)
    fill = maps.new_tensor(empty)
    maxima = []
    for side, columns in enumerate(_halves(maps.shape[2])):
        half, number = maps[:, :, columns], zones[:, :, columns]
        maxima += [torch.where(number == 3 * side + level, half, fill).amax((1, 2)) for level in range(3)]
    present = torch.stack([(zones == zone).flatten(1).any(1) for zone in range(ZONES)], 1)
    return torch.where(present, torch.stack(maxima, 1), fill)


def _halves(width: int) -> tuple[slice, slice]:
    return slice(0, width // 2), slice(width // 2, width)


def _extent(lung: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first row with lung and the row after the last, ``[batch]`` each."""
    rows = lung.any(2).to(torch.int8)
    return rows.argmax(1), lung.shape[1] - rows.flip(1).argmax(1)
