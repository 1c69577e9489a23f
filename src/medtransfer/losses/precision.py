"""Losses are computed in single precision at least, whatever autocast does around them."""

from torch import Tensor, float32, promote_types


def at_least_single(tensor: Tensor) -> Tensor:
    """Return the tensor in float32, or unchanged when it is already float32 or float64."""
    return tensor.to(promote_types(tensor.dtype, float32))
