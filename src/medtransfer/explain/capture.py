"""Looking into a network without leaving a trace: evaluation mode, one named activation, heat brought to one scale."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Hold a network in evaluation mode and float32 arithmetic; afterwards every module has its own mode again."""
    modes = {module: module.training for module in model.modules()}
    device = next(model.parameters()).device.type
    try:
        model.eval()
        with torch.autocast(device, enabled=False):
            yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def inputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the first input of a module at each of its calls inside the block; the hook is gone afterwards."""
    seen: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].detach()))
    try:
        yield seen
    finally:
        handle.remove()


def to_unit_heat(heat: Float[Tensor, "batch rows columns"], size: tuple[int, int]) -> Float[Tensor, "batch h w"]:
    """Resize heat bilinearly and stretch each map from its least to its largest value to 0–1.

    A map without contrast is 0 everywhere: it points nowhere, and stretching it would show rounding errors.

    Args:
        heat: one map an image at the resolution of a layer.
        size: height and width of the image in pixels.
    """
    large = F.interpolate(heat[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    low, high = large.amin((1, 2), keepdim=True), large.amax((1, 2), keepdim=True)
    noise = 16 * torch.finfo(heat.dtype).eps * high.abs()
    return torch.where(high - low > noise, (large - low) / (high - low), torch.zeros_like(large))
