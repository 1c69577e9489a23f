"""Sanity tests of explanations (Adebayo et al. 2018): the map of a randomised network must be another one."""

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor, nn

Heat = NDArray[np.floating]


def likeness(first: Heat, second: Heat) -> float:
    """Return the mean rank correlation of two stacks of maps ``[N, h, w]``; pairs with a flat map count as 0.

    1 means that the second network's maps are those of the first; near 0, that they depend on what was randomised.
    """
    values = []
    for a, b in zip(first.reshape(len(first), -1), second.reshape(len(second), -1), strict=True):
        flat = np.ptp(a) == 0 or np.ptp(b) == 0
        values.append(0.0 if flat else float(np.corrcoef(rankdata(a), rankdata(b))[0, 1]))
    return float(np.mean(values))


def cascade(model: nn.Module, *, seed: int) -> Iterator[tuple[str, nn.Module]]:
    """Yield a copy of the network with weights redrawn from the output down to each layer; the network is left alone.

    A layer's weights are shuffled, which keeps their distribution; running statistics are reset. The copy is the same
    object at each step: use it before the next one.

    Args:
        model: any network; its layers are those with weights of their own, in the order of their definition.
        seed: of the shuffling.
    """
    changed, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    for name, layer in reversed(_layers(changed)):
        with torch.no_grad():
            for weight in layer.parameters(recurse=False):
                flat = weight.flatten()
                weight.copy_(flat[torch.randperm(len(flat), generator=generator).to(flat.device)].view_as(weight))
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.reset_running_stats()
        yield name, changed


def weight_randomisation(
    model: nn.Module, heat: Callable[[nn.Module], Tensor], *, seed: int = 0, every: int = 1
) -> list[tuple[str, float]]:
    """Return, for layers from the output down, how like the maps of the randomised network are to the network's own.

    Args:
        model: a network.
        heat: from a network to its maps ``[N, h, w]``.
        seed: of the randomisation.
        every: maps are compared at every n-th layer, and at the last.
    """
    own = heat(model).float().cpu().numpy()
    steps = len(_layers(model))
    return [
        (name, likeness(own, heat(changed).float().cpu().numpy()))
        for number, (name, changed) in enumerate(cascade(model, seed=seed), start=1)
        if number % every == 0 or number == steps
    ]


def _layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the layers with weights of their own by name."""
    return [(name, one) for name, one in model.named_modules() if next(one.parameters(recurse=False), None) is not None]
