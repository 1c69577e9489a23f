"""What every self-supervised method has: an encoder, a projection head and losses of a batch."""

from collections.abc import Mapping
from typing import Literal, Protocol, cast

from torch import Tensor, nn
from torch.nn import functional as F

Batch = Mapping[str, Tensor]
"""``query`` and ``key`` [B, 3, h, w], ``regions`` [5B, 3, r, r], ``index`` [B]; see the loader."""

HeadKind = Literal["linear", "mlp"]


class Encoder(Protocol):
    """A network that turns images [B, 3, h, w] into pooled features [B, width]."""

    width: int

    def features(self, x: Tensor) -> Tensor:
        """Return the pooled features."""
        ...


class SelfSupervised(nn.Module):
    """A method around an encoder. ``method(batch)`` returns scalar losses by name; ``total`` carries the gradient."""

    encoder: nn.Module

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder


def width(encoder: nn.Module) -> int:
    """Return the number of features of an encoder."""
    return cast(Encoder, encoder).width


def features(encoder: nn.Module, x: Tensor) -> Tensor:
    """Return the pooled features [B, width] of images [B, 3, h, w]."""
    return cast(Encoder, encoder).features(x)


def projection(kind: HeadKind, inputs: int, outputs: int) -> nn.Module:
    """Return a projection head: one layer (MoCo v1), or inputs - ReLU - outputs (SimCLR, MoCo v2)."""
    if kind == "linear":
        return nn.Linear(inputs, outputs)
    return nn.Sequential(nn.Linear(inputs, inputs), nn.ReLU(inplace=True), nn.Linear(inputs, outputs))


def unit(rows: Tensor) -> Tensor:
    """Return the rows scaled to length 1, in single precision at least."""
    return F.normalize(rows.float() if rows.dtype.itemsize < 4 else rows, dim=1)
