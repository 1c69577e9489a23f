"""A network's layers by name, what they put out during one pass, and tokens folded to a map."""

import difflib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from medtransfer.errors import ModelError


def named_layer(model: nn.Module, name: str) -> nn.Module:
    """Return a layer by its dotted name, as in ``trunk.layer4.1``.

    Raises:
        ModelError: there is no such layer; names the closest ones.
    """
    layers: dict[str, nn.Module] = dict(model.named_modules())
    if not name or name not in layers:
        close = difflib.get_close_matches(name, layers, n=3) or [one for one in layers if one][:3]
        raise ModelError(f"layer {name!r} does not exist; there are, among others, {', '.join(close)}")
    return layers[name]


@contextmanager
def outputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the output of a module at each of its calls inside the block; the hook is gone afterwards.

    What follows gets a copy, so that an activation in place does not change what was collected.
    """
    seen: list[Tensor] = []

    def collect(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        seen.append(output)
        return output.clone()

    handle = module.register_forward_hook(collect)
    try:
        yield seen
    finally:
        handle.remove()


def as_map(output: Tensor, name: str) -> Tensor:
    """Return an output as a map ``[batch, channels, rows, columns]``; tokens are folded, a class token is left out.

    Raises:
        ModelError: it is neither a map nor a square grid of tokens with at most one class token.
    """
    if output.ndim == 4:
        return output
    prefix, side = grid_of(output.shape[1]) if output.ndim == 3 else (2, 0)
    if prefix > 1:
        shape = list(output.shape[1:])
        raise ModelError(f"layer {name!r}: output of shape {shape} per image is no map; take a layer before pooling")
    return output[:, prefix:].transpose(1, 2).reshape(len(output), -1, side, side)


def grid_of(tokens: int) -> tuple[int, int]:
    """Return how many tokens precede the largest square grid of a number of tokens, and the grid's side."""
    side = math.isqrt(tokens)
    return tokens - side**2, side
