"""Updates of channels-last weights by torch's fused optimisers on a CPU."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

FUSED = frozenset({"_fused_sgd_", "_fused_adam_", "_fused_adamw_"})


class DenseUpdates(TorchFunctionMode):
    """While active, fused updates read channels-last tensors in the order in which their memory has them.

    Without it torch copies every channels-last tensor that is not also contiguous, in strides, at every update: three
    quarters of the time of the update of a 3 x 3 convolution. An update is elementwise, so nothing else changes.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Permute the tensors of fused updates; let everything else through."""
        if getattr(func, "__name__", "") in FUSED:
            last = [_channels_last(parameter) for parameter in args[0]]
            args = tuple([_dense(t, on) for t, on in zip(tensors, last, strict=False)] for tensors in args)
        return func(*args, **(kwargs or {}))


def _channels_last(parameter: Tensor) -> bool:
    return (
        parameter.ndim == 4
        and not parameter.is_contiguous()
        and parameter.is_contiguous(memory_format=torch.channels_last)
    )


def _dense(tensor: Tensor, channels_last: bool) -> Tensor:
    """Return a view; Adam's step counters have no dimensions, and lists that an optimiser does not use are empty."""
    return tensor.detach().permute(0, 2, 3, 1) if channels_last and tensor.ndim == 4 else tensor
