"""Where inserted layers are in a trunk, and how they are attached without changing the trunk's own state-dict keys."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from medtransfer.config import Config
from medtransfer.errors import ModelError
from medtransfer.models.attention import AttentionLayer
from medtransfer.models.backbones import Site, survey
from medtransfer.models.inserted import ConvolutionLayer, InsertedLayer, control_width

_LAYERS_AT_STRIDE: dict[int, dict[int, int]] = {0: {}, 1: {8: 1}, 5: {8: 2, 16: 2, 32: 1}}
"""Layers in res3, res4 and res5 (Liu & Ji 2021, section 2.2), recognised by the stride of their maps."""


class AttentionConfig(Config):
    """Which layers are inserted into a network: ATTN layers, or convolutions at the same sites as their control.

    ``count``: 1 is at the end of res3; 5 are two in res3, two in res4 and one in res5. ``placement`` says where two
    of one stage are: after its middle and last block, after the last two, or both after the last (decision M-2).
    ``sites`` names blocks explicitly and wins over ``count``. ``scale`` divides logits by the square root of the width,
    ``width_ratio`` is the width of queries, keys and values relative to the channels. ``gamma`` is the start of γ,
    which scales what a layer adds: with 0 a new layer is the identity. A ``convolution`` has as many parameters as the
    ATTN layer in its place.
    """

    kind: Literal["attention", "convolution"] = "attention"
    count: Literal[0, 1, 5] = 0
    placement: Literal["spread", "tail", "stacked"] = "spread"
    sites: tuple[str, ...] = ()
    scale: bool = False
    width_ratio: float = Field(default=0.5, gt=0, le=1)
    gamma: float = Field(default=0.0, ge=0)


def choose_sites(known: Mapping[str, Site], config: AttentionConfig) -> tuple[str, ...]:
    """Return the site of each layer, in the order in which they run; a name that occurs twice carries two layers.

    Args:
        known: the sites of the trunk, as ``survey`` returns them.
        config: which layers are wanted.

    Raises:
        ModelError: the network has no blocks, a named site does not exist, or a stage has too few blocks for the
            placement.
    """
    if not known and (config.sites or config.count):
        raise ModelError(
            "attention: this network is no sequence of blocks (a VGG is one such), so ATTN layers have no place in it; "
            "use it plain, with 0 layers, or take one made of blocks: a ResNet, DenseNet, EfficientNet or ConvNeXt"
        )
    for name in config.sites:
        if name not in known:
            raise ModelError(f"attention site {name!r} does not exist; this network has {', '.join(known)}")
    if config.sites:
        return tuple(sorted(config.sites, key=list(known).index))
    chosen: list[str] = []
    for stride, layers in _LAYERS_AT_STRIDE[config.count].items():
        blocks = [name for name, site in known.items() if site.stride == stride]
        chosen += _in_stage(blocks, layers, config.placement, stride)
    return tuple(chosen)


def insert_layers(trunk: nn.Module, config: AttentionConfig) -> dict[str, InsertedLayer]:
    """Attach new layers after their blocks and return them by site; the second layer of a site is ``<site>#2``.

    The caller registers the layers in its own module. The trunk's keys stay as they were: plain checkpoints fit it.

    Raises:
        ModelError: see ``choose_sites``.
    """
    if not (config.sites or config.count):
        return {}
    known = survey(trunk)
    chosen = choose_sites(known, config)
    layers: dict[str, InsertedLayer] = {}
    for index, name in enumerate(chosen):
        layer = _new_layer(known[name].channels, config)
        trunk.get_submodule(name).register_forward_hook(_Refine(layer))
        earlier = chosen[:index].count(name)
        layers[f"{name}#{earlier + 1}" if earlier else name] = layer
    return layers


def _new_layer(channels: int, config: AttentionConfig) -> InsertedLayer:
    width = max(round(channels * config.width_ratio), 1)
    if config.kind == "convolution":
        return ConvolutionLayer(channels, width=control_width(channels, width), gamma=config.gamma)
    return AttentionLayer(channels, width=width, scale=config.scale, gamma=config.gamma)


class _Refine:
    """A forward hook that sends a block's output through a layer.

    An object rather than a closure: ``deepcopy`` follows its attribute, so a copied network refers to copied layers.
    """

    def __init__(self, layer: InsertedLayer) -> None:
        self.layer = layer

    def __call__(self, block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        refined: Tensor = self.layer(output)
        return refined


def _in_stage(blocks: list[str], layers: int, placement: str, stride: int) -> list[str]:
    if not blocks or (layers == 2 and placement != "stacked" and len(blocks) < 2):
        raise ModelError(
            f"attention: {layers} layer(s) placed {placement!r} need blocks at stride {stride}, where this network has "
            f"{', '.join(blocks) or 'none'}; name blocks under attention.sites"
        )
    last = len(blocks) - 1
    pairs = {"spread": [last // 2, last], "tail": [last - 1, last], "stacked": [last, last]}
    return [blocks[index] for index in (pairs[placement] if layers == 2 else [last])]
