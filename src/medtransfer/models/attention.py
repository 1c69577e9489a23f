"""The ATTN layer of Liu & Ji 2021: a non-local block (Wang et al. 2018) with unscaled softmax and no subsampling."""

import math
from collections.abc import Iterator
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from medtransfer.models.attend import attend, attention_rows
from medtransfer.models.inserted import InsertedLayer

__all__ = ["AttentionLayer", "attend"]

ROWS_AT_ONCE = 256
"""Rows of the attention matrix held at one time by the statistics."""


class AttentionLayer(InsertedLayer):
    """Self-attention over all positions of a map: ``z = BN(W_z o) + x``, ``o_q = sum_k A[q, k] v_k`` (Eq. 1).

    Queries, keys and values come from 1 × 1 convolutions with bias; see ``InsertedLayer`` for the start.

    Args:
        channels: channels of the map that comes in and goes out.
        width: channels of queries, keys and values; half of ``channels`` if not given.
        scale: divide the logits by the square root of ``width``. Eq. 1 does not.
        gamma: start of γ.
    """

    def __init__(self, channels: int, *, width: int | None = None, scale: bool = False, gamma: float = 0.0) -> None:
        super().__init__()
        width = width or max(channels // 2, 1)
        self.query = nn.Conv2d(channels, width, 1)
        self.key = nn.Conv2d(channels, width, 1)
        self.value = nn.Conv2d(channels, width, 1)
        self.project = nn.Conv2d(width, channels, 1)
        self.scale = width**-0.5 if scale else 1.0
        self.close(channels, gamma)

    def branch(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        """Return what each position gathers from all others, projected to the channels of the map."""
        gathered = attend(_tokens(self.query(x)), _tokens(self.key(x)), _tokens(self.value(x)), scale=self.scale)
        return cast(Tensor, self.project(_map(gathered, x)))

    def rows(
        self, x: Float[Tensor, "batch channels h w"], queries: Int[Tensor, " queries"]
    ) -> Float[Tensor, "batch queries positions"]:
        """Return the rows of the attention matrix that belong to the given positions (row-major); each sums to 1."""
        return attention_rows(_tokens(self.query(x))[:, queries], _tokens(self.key(x)), scale=self.scale)

    @torch.no_grad()
    def heat_map(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch h w"]:
        """Return how much all queries together attend to each position: the mean over queries of ``A[q, k]``."""
        heat = torch.stack([rows.sum(1) for rows in self._blocks(x)]).sum(0) / x[0, 0].numel()
        return _map(heat.unsqueeze(2), x)[:, 0]

    @torch.no_grad()
    def entropy(self, x: Float[Tensor, "batch channels h w"]) -> float:
        """Return the mean entropy of the rows relative to ``log(h·w)``: 1 is uniform, 0 attends to one position.

        A map of one position has only the uniform row; its entropy counts as 1.
        """
        positions = x[0, 0].numel()
        if positions == 1:
            return 1.0
        total = sum(float(torch.special.entr(rows).sum()) for rows in self._blocks(x))
        return total / (len(x) * positions * math.log(positions))

    def _blocks(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the attention matrix ``ROWS_AT_ONCE`` rows at a time."""
        q, k = _tokens(self.query(x)), _tokens(self.key(x))
        for start in range(0, q.shape[1], ROWS_AT_ONCE):
            yield attention_rows(q[:, start : start + ROWS_AT_ONCE], k, scale=self.scale)


def _tokens(x: Tensor) -> Tensor:
    """``[B, d, h, w]`` as ``[B, h·w, d]``: free of copies for a channels-last map."""
    return x.flatten(2).transpose(1, 2)


def _map(tokens: Tensor, like: Tensor) -> Tensor:
    """``[B, h·w, d]`` as ``[B, d, h, w]``, the height and width taken from ``like``."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, *like.shape[2:])
