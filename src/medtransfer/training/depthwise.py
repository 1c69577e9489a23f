"""Depthwise convolutions under bf16 on a CPU."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class DepthwiseInFp32(TorchFunctionMode):
    """While active, convolutions with one input channel a group leave autocast, run in fp32 and return what it would.

    CPUs have bf16 units for products of matrices; a depthwise convolution is none, and its bf16 form is several
    times slower than fp32 (``benchmarks/bench_depthwise.py``). Everything else stays as autocast has it, so the layers
    behind read half the memory that an fp32 result would take.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Take calls of ``torch.conv2d`` with a depthwise weight; let everything else through."""
        cast = torch.is_autocast_enabled("cpu")
        if cast and func is torch.conv2d and args[1].shape[1] == 1 and args[1].shape[0] > 1:
            with torch.autocast("cpu", enabled=False):
                exact = func(args[0].float(), *args[1:], **(kwargs or {}))
            return exact.to(torch.get_autocast_dtype("cpu"))
        return func(*args, **(kwargs or {}))
