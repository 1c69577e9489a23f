"""The slowly moving key encoder."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def update_momentum_(key_encoder: nn.Module, query_encoder: nn.Module, m: float, *, statistics: bool = False) -> None:
    """Move every parameter of the key encoder in place: Eq. 3, theta_k <- m theta_k + (1 - m) theta_q.

    Buffers are left alone, as in MoCo (He et al. 2020): the key encoder's batch norm learns from its own passes.

    Args:
        key_encoder: changed in place; same architecture as the query encoder.
        query_encoder: only read.
        m: 0 copies, 1 changes nothing.
        statistics: move the running means and variances of batch norm alike (EMAN, Cai et al. 2021).
    """
    keys, queries = (_moving(module, statistics) for module in (key_encoder, query_encoder))
    torch._foreach_lerp_(keys, queries, 1.0 - m)


def norms(module: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """Return the batch-norm layers."""
    return [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]


def _moving(module: nn.Module, statistics: bool) -> list[Tensor]:
    buffers = [(layer.running_mean, layer.running_var) for layer in norms(module)] if statistics else []
    return [*module.parameters(), *(buffer for pair in buffers for buffer in pair if buffer is not None)]
