"""A network: trunk, ATTN layers, global average pooling, dropout, one linear head."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from medtransfer.config import Config
from medtransfer.errors import ModelError
from medtransfer.models.attention import AttentionLayer
from medtransfer.models.backbones import create_trunk, feature_width
from medtransfer.models.insertion import AttentionConfig, insert_attention


class NetworkConfig(Config):
    """A network: timm's name of the backbone, its ATTN layers, the share of pooled features and of paths dropped."""

    backbone: str = "resnet50"
    attention: AttentionConfig = AttentionConfig()
    dropout: float = Field(default=0.0, ge=0, lt=1)
    drop_path: float = Field(default=0.0, ge=0, lt=1)


class Classifier(nn.Module):
    """A trunk with ATTN layers and a linear head; built by ``build_network``.

    Attributes:
        trunk: the timm network without head; its keys are timm's own.
        attention: the ATTN layers; ``attention_sites`` names the block of each.
        head: the linear classifier.
        width: number ``D`` of pooled features; the channels of the last map in most networks.
    """

    def __init__(self, config: NetworkConfig, classes: int) -> None:
        super().__init__()
        self.trunk = create_trunk(config.backbone, drop_path=config.drop_path)
        self.width = feature_width(self.trunk)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(self.width, classes)
        # drawn last: with and without ATTN, the same seed starts trunk and head from the same weights
        layers = insert_attention(self.trunk, config.attention)
        self.attention = nn.ModuleDict({site.replace(".", "_"): layer for site, layer in layers.items()})
        self.attention_sites = tuple(layers)

    def forward(self, x: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch classes"]:
        """Return logits."""
        logits: Tensor = self.head(self.dropout(self.features(x)))
        return logits

    def features(self, x: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch width"]:
        """Return globally averaged features, before dropout."""
        return self.pool(self.feature_map(x))

    def feature_map(self, x: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch channels rows columns"]:
        """Return the last map, before pooling."""
        return cast(Tensor, self.trunk.forward_features(x))  # type: ignore[operator]

    def pool(self, maps: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch width"]:
        """Return the mean over positions and what timm does after it: a norm in a ConvNeXt, nothing in most."""
        return cast(Tensor, self.trunk.forward_head(maps, pre_logits=True))  # type: ignore[operator]


def build_network(config: NetworkConfig, classes: int, *, seed: int | None = None) -> Classifier:
    """Return a randomly initialised network; with a seed always the same one, and torch's own generator is left alone.

    Raises:
        ModelError: the backbone or a site does not exist, or there are no classes.
    """
    if classes < 1:
        raise ModelError(f"network {config.backbone!r} needs at least one class, got {classes}")
    if seed is None:
        return Classifier(config, classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Classifier(config, classes)


def attention_layers(model: Classifier) -> dict[str, AttentionLayer]:
    """Return the ATTN layers by the site they stand at, in order; the second of one site as ``<site>#2``."""
    layers = [layer for layer in model.attention.values() if isinstance(layer, AttentionLayer)]
    return dict(zip(model.attention_sites, layers, strict=True))


@contextmanager
def attention_off(model: Classifier) -> Iterator[Classifier]:
    """Let all ATTN layers pass their map through unchanged inside the block."""
    layers = list(attention_layers(model).values())
    before = [layer.active for layer in layers]
    try:
        for layer in layers:
            layer.active = False
        yield model
    finally:
        for layer, active in zip(layers, before, strict=True):
            layer.active = active


@torch.no_grad()
def attention_report(model: Classifier, images: Float[Tensor, "batch 3 h w"]) -> dict[str, dict[str, float]]:
    """Return ``{site: {"gamma_abs": …, "entropy": …}}`` of every layer on these images, in evaluation mode.

    ``entropy`` is relative to the logarithm of the number of positions: 1 means that attention is uniform.
    """
    layers = attention_layers(model)
    report: dict[str, dict[str, float]] = {}

    def note(site: str, layer: AttentionLayer, x: Tensor) -> None:
        report[site] = {"gamma_abs": layer.gamma_abs, "entropy": layer.entropy(x)}

    handles = [
        layer.register_forward_pre_hook(lambda module, inputs, site=site: note(site, module, inputs[0]))
        for site, layer in layers.items()
    ]
    training = model.training
    try:
        model.eval()
        model.feature_map(images)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return report
