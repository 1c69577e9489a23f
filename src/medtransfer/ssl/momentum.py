"""The slowly moving key encoder."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def update_momentum_(key_encoder: nn.Module, query_encoder: nn.Module, m: float) -> None:
    """Move every parameter of the key encoder in place: Eq. 3, theta_k <- m theta_k + (1 - m) theta_q.

    Buffers are left alone, as in MoCo (He et al. 2020): the key encoder's batch norm learns from its own passes.

    Args:
        key_encoder: changed in place; same architecture as the query encoder.
        query_encoder: only read.
        m: 0 copies, 1 changes nothing.
    """
    keys: list[Tensor] = list(key_encoder.parameters())
    queries: list[Tensor] = list(query_encoder.parameters())
    torch._foreach_lerp_(keys, queries, 1.0 - m)
