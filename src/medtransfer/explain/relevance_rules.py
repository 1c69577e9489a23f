"""How relevance is shared among the inputs of one step (Chefer et al. 2021, after deep Taylor decomposition, α = 1).

Each rule takes the relevance of a step's result and returns that of its inputs. Sums are kept up to the stabiliser of
the ratio, except through biases, which take no share.
"""

import torch
from jaxtyping import Float
from torch import Tensor

_STABILISER = 1e-9


def ratio(relevance: Float[Tensor, "*shape"], result: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return relevance ÷ result, stabilised; 0 where the result is 0."""
    held = result + _STABILISER * torch.where(result < 0, -1.0, 1.0)
    return torch.where(result == 0, 0.0, relevance / held)


def through_linear(
    relevance: Float[Tensor, "*rows outputs"], x: Float[Tensor, "*rows inputs"], weight: Float[Tensor, "outputs inputs"]
) -> Float[Tensor, "*rows inputs"]:
    """Return the relevance of a linear layer's input: only what raises the result takes a share."""
    above, below = x.clamp(min=0), x.clamp(max=0)
    raising, lowering = weight.clamp(min=0), weight.clamp(max=0)
    share = ratio(relevance, above @ raising.T + below @ lowering.T)
    return above * (share @ raising) + below * (share @ lowering)


def through_product(
    relevance: Float[Tensor, "*batch n m"], left: Float[Tensor, "*batch n k"], right: Float[Tensor, "*batch k m"]
) -> tuple[Float[Tensor, "*batch n k"], Float[Tensor, "*batch k m"]]:
    """Return the relevance of both factors of a matrix product, half of it each."""
    share = ratio(relevance, left @ right)
    return left * (share @ right.transpose(-2, -1)) / 2, right * (left.transpose(-2, -1) @ share) / 2


def through_sum(
    relevance: Float[Tensor, "batch tokens width"],
    first: Float[Tensor, "batch tokens width"],
    second: Float[Tensor, "batch tokens width"],
) -> tuple[Float[Tensor, "batch tokens width"], Float[Tensor, "batch tokens width"]]:
    """Return the relevance of both terms of a residual sum, in the proportion of what each has in all."""
    share = ratio(relevance, first + second)
    parts = first * share, second * share
    sums = [part.sum((1, 2), keepdim=True) for part in parts]
    whole = relevance.sum((1, 2), keepdim=True)
    magnitude = sums[0].abs() + sums[1].abs()
    scales = [ratio(whole * ratio(total.abs(), magnitude), total) for total in sums]
    return parts[0] * scales[0], parts[1] * scales[1]
