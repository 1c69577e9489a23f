"""Is the representation alive? Spread, alignment, uniformity and a nearest-neighbour probe, all pure."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from medtransfer.errors import ConfigError

TEMPERATURE = 0.07
"""Of the votes of the kNN probe; less gives near neighbours more weight."""
COLLAPSED_BELOW = 0.05
"""Spread under which features count as collapsed: 1 is an even sphere, 0 a single point (Chen & He 2021, Fig. 2).

Pooled features of CT slices in evaluation mode reach 0.11 to 0.15 in untrained networks and 0.52 in one trained on
ImageNet, so that this value is well below that of a network that has learnt nothing yet.
"""


def feature_spread(features: Float[Tensor, "images dim"]) -> float:
    """Return sqrt(dim) x the mean over dimensions of the standard deviation of unit features.

    Near 1 for features even on the sphere, 0 when all images give the same direction (Chen & He 2021, section 4.1).
    """
    units = F.normalize(features.float(), dim=1)
    return float(units.std(dim=0, correction=0).mean() * units.shape[1] ** 0.5)


def collapsed(spread: float) -> bool:
    """Return whether a spread is below ``COLLAPSED_BELOW``."""
    return spread < COLLAPSED_BELOW


def alignment(x: Float[Tensor, "pairs dim"], y: Float[Tensor, "pairs dim"]) -> float:
    """Return the mean squared distance of the unit features of two views, 0 ... 4, less is closer.

    Wang & Isola 2020, section 4.1.1, with alpha = 2.
    """
    gap = F.normalize(x.float(), dim=1) - F.normalize(y.float(), dim=1)
    return float(gap.square().sum(dim=1).mean())


def uniformity(x: Float[Tensor, "images dim"]) -> float:
    """Return log mean exp(-2 d²) over all pairs of unit features, -8 ... 0, less is more even.

    Wang & Isola 2020, section 4.1.2, with t = 2.
    """
    squared = torch.pdist(F.normalize(x.float(), dim=1)).square()
    return float(torch.logsumexp(-2.0 * squared, dim=0) - torch.tensor(float(len(squared))).log())


def knn_probe(
    train: Float[Tensor, "images dim"],
    labels: Int[Tensor, " images"],
    val: Float[Tensor, "others dim"],
    *,
    classes: int,
    neighbours: int = 20,
) -> Float[Tensor, "others {classes}"]:
    """Return class probabilities of held-out images by a weighted vote of their nearest training images.

    Each of the k most similar training features votes with exp(cosine / ``TEMPERATURE``) (Wu et al. 2018, section
    3.4). No validation label is read.

    Args:
        train: features of the training images.
        labels: their classes, 0 ... classes - 1.
        val: features of the held-out images.
        classes: columns of the result.
        neighbours: k.

    Raises:
        ConfigError: fewer training images than neighbours.
    """
    if neighbours > len(train):
        raise ConfigError(
            f"kNN probe: neighbours is {neighbours}, expected at most the {len(train)} training images: lower it"
        )
    cosine = F.normalize(val.float(), dim=1) @ F.normalize(train.float(), dim=1).T
    nearest, rows = cosine.topk(neighbours, dim=1)
    # softmax divides by the sum of the votes and cannot overflow
    votes = (nearest / TEMPERATURE).softmax(dim=1)
    scores = votes.new_zeros(len(val), classes)
    return scores.scatter_add_(1, labels[rows], votes)
