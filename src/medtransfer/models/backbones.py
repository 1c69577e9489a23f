"""Trunks from timm that end in a map, and the named sites in them where a layer can be inserted."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medtransfer.errors import ModelError
from medtransfer.models.patches import as_map, is_patch_network

_PROBE = 96
"""Side in pixels of the empty image that is sent through a trunk to see its maps, unless the trunk takes one side."""


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Hold a module in evaluation mode without gradients; afterwards every part has its own mode again."""
    modes = {part: part.training for part in module.modules()}
    try:
        with torch.no_grad():
            module.eval()
            yield
    finally:
        for part, training in modes.items():
            part.training = training


@dataclass(frozen=True)
class Site:
    """A block whose output a layer can refine: its channels, and the image's side divided by its map's."""

    channels: int
    stride: int


def create_trunk(name: str, *, drop_path: float = 0.0, cut: bool = False) -> nn.Module:
    """Return a randomly initialised timm network without classifier.

    Its ``forward_features`` gives the last map, its ``forward_head(map, pre_logits=True)`` pools it as timm does; of a
    vision transformer the patches are the map. A network that will be ``cut`` may end otherwise, in tokens for example,
    as long as it has maps before.

    Raises:
        ModelError: timm has no such network (the message lists close names), or it is not convolutional.
    """
    import timm

    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=5)
        raise ModelError(f"network {name!r} is not known to timm; close names: {', '.join(close) or 'none'}")
    options: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    folded = is_patch_network(name) and not cut
    try:
        trunk: nn.Module = timm.create_model(
            name, num_classes=0, **options, **({"dynamic_img_size": True} if folded else {})
        )
        trunk = as_map(trunk) if folded else trunk
        shape = _probe(trunk, ())["map"]
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise ModelError(f"network {name!r} cannot be a trunk here ({error}); take a convolutional network") from error
    if (len(shape) != 4 and not cut) or getattr(trunk, "output_fmt", "NCHW") == "NHWC":
        raise ModelError(f"network {name!r} does not end in a channels-first map; take a convolutional network")
    _open_residual_branches(trunk)
    return trunk


def probe_side(trunk: nn.Module) -> int:
    """Return the side in pixels of an image that shows a trunk's maps: 96, or its own where it takes no other."""
    known: Any = getattr(trunk, "pretrained_cfg", None) or {}
    return int(known["input_size"][-1]) if known.get("fixed_input_size") else _PROBE


def _open_residual_branches(trunk: nn.Module) -> None:
    """Let the last batch norm of every ResNet block start at 1, as in the papers' networks and torchvision.

    timm starts them at 0, which makes every block the identity at first: good over many epochs, slow in short runs.
    """
    for block in trunk.modules():
        if callable(getattr(block, "zero_init_last", None)):
            last = getattr(block, "bn3", None) or getattr(block, "bn2", None)
            if last is not None and getattr(last, "weight", None) is not None:
                nn.init.ones_(last.weight)


def feature_width(trunk: nn.Module) -> int:
    """Return the number of pooled features ``D`` that a classifier reads."""
    return _probe(trunk, ())["pooled"][1]


def sites(trunk: nn.Module) -> tuple[str, ...]:
    """Return the names of all blocks after which a layer can be inserted, in the order in which they run.

    A block is a module with at least two convolutions or linear layers that is one step of a stage: ``layer2.3`` of a
    ResNet (after its last ReLU), ``features.denseblock3`` of a DenseNet, ``blocks.4.2`` of an EfficientNet,
    ``stages.2.blocks.1`` of a ConvNeXt.
    """
    return tuple(survey(trunk))


def survey(trunk: nn.Module) -> dict[str, Site]:
    """Return every site of a trunk with its channels and stride, in the order in which they run."""
    shapes, side = _probe(trunk, block_names(trunk)), probe_side(trunk)
    return {
        name: Site(channels=shape[1], stride=side // shape[2])
        for name, shape in shapes.items()
        if name not in ("map", "pooled") and len(shape) == 4
    }


def block_names(trunk: nn.Module) -> tuple[str, ...]:
    """Return the names of all blocks (see ``sites``) as the modules list them, without running the trunk."""
    modules = dict(trunk.named_modules())
    stages = {entry["module"] for entry in getattr(trunk, "feature_info", [])}

    def is_block(name: str) -> bool:
        parent = name.rpartition(".")[0]
        inside = isinstance(modules[parent], nn.Sequential) or (parent in stages and parent != "")
        plain_list = isinstance(modules[parent], nn.ModuleDict) or isinstance(modules[name], nn.Sequential)
        return bool(name) and inside and not plain_list and _weighted_layers(modules[name]) >= 2

    blocks = [name for name in modules if is_block(name)]
    return tuple(name for name in blocks if not any(other.startswith(f"{name}.") for other in blocks))


def _weighted_layers(module: nn.Module) -> int:
    return sum(isinstance(part, nn.Conv2d | nn.Linear) for part in module.modules())


def _probe(trunk: Any, names: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Shapes of the named modules' outputs in running order, of the last ``map`` and of the ``pooled`` features."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, output: object) -> None:
        shapes[name] = tuple(output.shape) if isinstance(output, Tensor) else ()

    modules = dict(trunk.named_modules())
    handles = [
        modules[name].register_forward_hook(lambda _m, _i, output, name=name: note(name, output)) for name in names
    ]
    try:
        with evaluating(trunk):
            side = probe_side(trunk)
            last = trunk.forward_features(next(trunk.parameters()).new_zeros(1, 3, side, side))
            note("map", last)
            note("pooled", trunk.forward_head(last, pre_logits=True))
    finally:
        for handle in handles:
            handle.remove()
    return shapes
