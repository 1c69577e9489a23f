"""Batch norm of one pass: by groups, so that query and key meet different images, or with running statistics kept."""

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class GroupedBatchNorm(TorchFunctionMode):
    """While active, every batch norm in training mode normalises ``groups`` consecutive parts of a batch on their own.

    One pass instead of one per group: convolutions see the whole batch. Running statistics move as far as one ordinary
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
        return cast(Tensor, _NormByParts.apply(x, weight, bias, (mean, var), self.groups, (step, eps)))


class KeptStatistics(TorchFunctionMode):
    """While active, batch norm in training mode normalises as ever but leaves its running statistics as they are.

    Evaluation mode is untouched. ``num_batches_tracked`` counts on; only a layer without momentum reads it.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Take the running statistics out of calls of ``torch.nn.functional.batch_norm`` in training mode."""
        if func is F.batch_norm:
            return self._batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    @staticmethod
    def _batch_norm(
        x: Tensor,
        mean: Tensor | None,
        var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        kept = (None, None) if training else (mean, var)
        return F.batch_norm(x, *kept, weight, bias, training, momentum, eps)


def moves_statistics(module: nn.Module) -> bool:
    """Return whether a pass moves running statistics: there is batch norm, and it is not frozen."""
    return any(isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training for layer in module.modules())


class _NormByParts(Function):
    """Batch norm of consecutive parts as one node: autograd through a split and a join takes up to 4 times as long."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        running: tuple[Tensor | None, Tensor | None],
        groups: int,
        constants: tuple[float, float],
    ) -> Tensor:
        step, ctx.eps = constants
        parts = x.tensor_split(groups)
        normed = [torch.native_batch_norm(part, weight, bias, *running, True, step, ctx.eps) for part in parts]
        y, means, scales = zip(*normed, strict=True)
        ctx.save_for_backward(x, weight, *means, *scales)
        return torch.cat(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *saved = ctx.saved_tensors
        groups = len(saved) // 2
        pieces = zip(gradient.tensor_split(groups), x.tensor_split(groups), saved[:groups], saved[groups:], strict=True)
        wanted = [True, *ctx.needs_input_grad[1:3]]
        gradients = [
            torch.ops.aten.native_batch_norm_backward(dy, part, weight, None, None, mean, scale, True, ctx.eps, wanted)
            for dy, part, mean, scale in pieces
        ]
        dx, dw, db = zip(*gradients, strict=True)
        summed = (torch.stack(d).sum(0) if on else None for d, on in zip((dw, db), wanted[1:], strict=True))
        return torch.cat(dx), *summed, None, None, None


def crossed_order(batch: int, groups: int, *, device: torch.device | None = None) -> Int[Tensor, " batch"]:
    """Return an order of the batch whose consecutive groups share at most one image with any group of the batch itself.

    This holds when groups² >= batch. Batch norm ties the features of all images that are normalised together. When
    queries and keys are normalised with the same images, that tie reveals the right key, and the loss falls without
    learning. MoCo shuffles keys across devices (He et al. 2020, section 3.3); here queries go in the batch's order and
    keys in this one, which needs one device and no random numbers.

    Args:
        batch: images.
        groups: consecutive parts.
        device: of the positions.
    """
    positions = torch.arange(batch, device=device)
    return torch.cat([positions[first::groups] for first in range(groups)])
