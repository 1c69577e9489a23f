"""Sanity tests of explanations (Adebayo et al. 2018): the map of a randomised network must be another one."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import nn

Heat = NDArray[np.floating]
ORDER = ("attention.", "head", "head.label")
"""Beginnings of the names of layers that come behind the trunk, the last one next to the output."""
ALIKE = 0.5
"""Likeness above which a map fails: it shows what it showed before the network lost what it knew. Our limit."""


def likeness(first: Heat, second: Heat) -> float:
    """Return the mean rank correlation of two stacks of maps ``[N, h, w]``; pairs with a flat map count as 0.

    A map that is not finite, as shuffled weights may make one, counts as flat.

    1 means that the second network's maps are those of the first; near 0, that they depend on what was randomised.
    """
    values = []
    for a, b in zip(first.reshape(len(first), -1), second.reshape(len(second), -1), strict=True):
        flat = any(not np.isfinite(one).all() or np.ptp(one) == 0 for one in (a, b))
        values.append(0.0 if flat else float(np.corrcoef(rankdata(a), rankdata(b))[0, 1]))
    return float(np.mean(values))


def cascade(model: nn.Module, *, seed: int) -> Iterator[tuple[str, nn.Module]]:
    """Yield a copy of the network with weights redrawn from the output down to each layer; the network is left alone.

    A layer's weights are shuffled, which keeps their distribution; running statistics are reset. The copy is the same
    object at each step: use it before the next one.

    Args:
        model: any network; its layers are those with weights of their own.
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
    model: nn.Module,
    heats: Callable[[nn.Module], Mapping[str, Heat]],
    *,
    seed: int = 0,
    shares: Sequence[float] = (0.0, 0.5, 1.0),
) -> dict[str, list[tuple[str, float]]]:
    """Return, by explainer, how like the maps of the randomised network are to the network's own.

    Args:
        model: a network.
        heats: from a network to the maps ``[N, h, w]`` of every explainer.
        seed: of the randomisation.
        shares: maps are compared when these shares of the layers are randomised; 0 is the output layer alone.

    Returns:
        Explainer → the last layer that was randomised, and the likeness; one pair per share.
    """
    own, steps = heats(model), len(_layers(model))
    asked = {max(1, round(share * steps)) for share in shares}
    found: dict[str, list[tuple[str, float]]] = {name: [] for name in own}
    for number, (layer, changed) in enumerate(cascade(model, seed=seed), start=1):
        if number in asked:
            for name, heat in heats(changed).items():
                found[name].append((layer, likeness(own[name], heat)))
    return found


def _layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the layers with weights of their own by name, as they are defined but for those above the trunk.

    Inserted layers are in the trunk but defined behind the head, and of several heads the label's is the last.
    """
    own = [(name, one) for name, one in model.named_modules() if next(one.parameters(recurse=False), None) is not None]
    return sorted(own, key=lambda layer: sum(layer[0].startswith(start) * (n + 1) for n, start in enumerate(ORDER)))
