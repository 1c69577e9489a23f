"""The lobe-region loss and the joint loss of Liu & Ji 2021, section 5.3."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from medtransfer.errors import DataError
from medtransfer.losses.precision import at_least_single

REGIONS = ("ru", "rm", "rl", "lu", "ll")
"""Class order of the five lobe regions: right upper, middle, lower, left upper, lower (of the patient)."""


def region_loss(logits: Float[Tensor, "rows 5"], *, reduction: Literal["mean", "sum"]) -> Float[Tensor, ""]:
    """Return Eq. 5 in nats: the sum of an image's five cross-entropies, then ``reduction`` over images.

    The paper sums over the n other images; the mean keeps the two weights of Eq. 6 comparable at any batch size.

    Args:
        logits: image-major, image 0's five regions first in the order of ``REGIONS``.
        reduction: over images.

    Raises:
        DataError: there are not five rows per image.
    """
    scores = at_least_single(logits)
    summed = F.cross_entropy(scores, region_targets(logits), reduction="sum")
    return summed / (len(logits) // len(REGIONS)) if reduction == "mean" else summed


def region_accuracy(logits: Float[Tensor, "rows 5"]) -> Float[Tensor, ""]:
    """Return the share of crops whose region is named rightly, without gradient; chance is 0.2."""
    return (logits.detach().argmax(dim=1) == region_targets(logits)).float().mean()


def total_loss(contrastive: Float[Tensor, ""], region: Float[Tensor, ""], a1: float, a2: float) -> Float[Tensor, ""]:
    """Return Eq. 6: a1 x contrastive + a2 x region."""
    return a1 * contrastive + a2 * region


def region_targets(logits: Float[Tensor, "rows 5"]) -> Tensor:
    """Return 0 ... 4 repeated for every image.

    Raises:
        DataError: there are not five rows per image.
    """
    images, rest = divmod(len(logits), len(REGIONS))
    if rest or not images:
        raise DataError(
            f"region logits have {len(logits)} rows, expected five per image ({', '.join(REGIONS)}): "
            "give the crops of whole images, image-major"
        )
    return torch.arange(len(REGIONS), device=logits.device).repeat(images)
