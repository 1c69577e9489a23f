"""Batch norm by groups in one pass, so that query and key of an image are normalised in different company."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class GroupedBatchNorm(TorchFunctionMode):
    """While active, every batch norm in training mode normalises ``groups`` consecutive parts of a batch on their own.

    One pass instead of one a group: convolutions see the whole batch. Running statistics move as far as one ordinary
    pass would move them. Evaluation mode is untouched.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Split calls of ``torch.nn.functional.batch_norm``; let everything else through."""
        if func is F.batch_norm and self.groups > 1:
            return self._batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        x: Tensor,
        mean: Tensor | None,
        var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return F.batch_norm(x, mean, var, weight, bias, training, momentum, eps)
        # G steps of this size forget as much as one step of the layer's own
        step = 1.0 - (1.0 - momentum) ** (1.0 / self.groups)
        parts = [F.batch_norm(part, mean, var, weight, bias, True, step, eps) for part in x.tensor_split(self.groups)]
        return torch.cat(parts)


def crossed_order(batch: int, groups: int, *, device: torch.device | None = None) -> Int[Tensor, " batch"]:
    """Return an order of the batch whose consecutive groups share at most one image with any group of the batch itself.

    This holds when groups² >= batch. Batch norm ties the features of all images that are normalised together. When
    queries and keys keep the same company, that tie tells which key is the right one, and the loss falls without
    learning. MoCo shuffles keys across devices (He et al. 2020, section 3.3); here queries go in the batch's order and
    keys in this one, which needs one device and no random numbers.

    Args:
        batch: images.
        groups: consecutive parts.
        device: of the positions.
    """
    positions = torch.arange(batch, device=device)
    return torch.cat([positions[first::groups] for first in range(groups)])
