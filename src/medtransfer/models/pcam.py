"""Probabilistic class activation maps: a head that pools features where its own class activation map is high."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medtransfer.models.structures import MapHead

_START_STD = 0.01
"""Standard deviation of the weights at the start, as in the released code of Ye et al. 2020."""


class PcamHead(MapHead):
    """PCAM pooling (Ye et al. 2020; Park et al. 2022, Appendix A) with one linear classifier per output.

    ``m = w·F_ij + b``, ``a_ij = σ(m_ij) / Σ σ(m)``, ``f = Σ a_ij F_ij``, ``logit = w·f + b``: the same weights make the
    map and the logit. Their keys are those of a linear head.

    Args:
        channels: of the map.
        outputs: findings.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.in_features, self.out_features = channels, outputs
        self.weight = nn.Parameter(torch.empty(outputs, channels))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.normal_(self.weight, std=_START_STD)

    def forward(self, maps: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch outputs"]:
        """Return the logit of every output."""
        # w·Σ a F + b = Σ a (w·F + b), because the weights a sum to 1: the pooled features need not be made
        logits = self.activation_map(maps).flatten(2)
        return (pcam_weights(logits) * logits).sum(-1)

    def activation_map(
        self, maps: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch outputs rows columns"]:
        """Return the logit of every output at every position."""
        return nn.functional.conv2d(maps, self.weight[:, :, None, None], self.bias)


def pcam_weights(logits: Float[Tensor, "*batch positions"]) -> Float[Tensor, "*batch positions"]:
    """Return the share of every position in the probability of all: not negative, with the sum 1.

    It is a softmax of log-probabilities, which needs no stabiliser where all probabilities vanish.
    """
    return torch.softmax(nn.functional.logsigmoid(logits), dim=-1)
