"""A network: trunk, inserted layers, and a head: linear on pooled features, or one that reads the last map itself."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, cast

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from medtransfer.errors import ModelError
from medtransfer.models.attention import AttentionLayer
from medtransfer.models.backbones import create_trunk, evaluating, feature_width, probe_side
from medtransfer.models.inserted import InsertedLayer
from medtransfer.models.insertion import AttentionConfig, insert_layers
from medtransfer.models.pcam import PcamHead
from medtransfer.models.structures import Flatten, GlobalAverage, LeftOut, MapHead, Structure, map_shape
from medtransfer.models.truncate import truncate


class NetworkConfig(Structure):
    """A network from timm: name of the backbone, inserted layers, the share of paths dropped, the last block kept."""

    kind: Literal["timm"] = "timm"
    backbone: str = "resnet50"
    attention: AttentionConfig = AttentionConfig()
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    pooling: Literal["average", "pcam"] = "average"
    """``pcam`` pools by the class activation map of every output (Park et al. 2022, Appendix A)."""
    cut: str = ""
    """The block after which the network ends, one of ``truncate.cuts``; empty leaves it whole."""

    @property
    def title(self) -> str:
        """For example ``resnet50``, ``densenet121_pcam`` or ``resnet50_to_layer3.0``; an @ would end a DVC name."""
        name = f"{self.backbone}_to_{self.cut}" if self.cut else self.backbone
        return f"{name}_pcam" if self.pooling == "pcam" else name

    @model_validator(mode="after")
    def _pool_once(self) -> "NetworkConfig":
        if self.pooling == "pcam" and self.flatten_at:
            raise ModelError(f"network {self.title!r}: a flattened head pools nothing; drop flatten_at or pcam")
        return self

    def build_trunk(self) -> tuple[nn.Module, LeftOut]:
        """Return timm's network up to the cut; see ``create_trunk`` and ``truncate``."""
        trunk = create_trunk(self.backbone, drop_path=self.drop_path, cut=bool(self.cut))
        return trunk, truncate(trunk, self.cut) if self.cut else {}

    def insert_layers(self, trunk: nn.Module) -> dict[str, InsertedLayer]:
        """Attach ATTN layers or their control; see ``insertion.insert_layers``."""
        return insert_layers(trunk, self.attention)

    def build_head(self, trunk: nn.Module, outputs: int) -> MapHead | None:
        """Return a PCAM head where it is asked for."""
        return PcamHead(map_shape(trunk, probe_side(trunk))[0], outputs) if self.pooling == "pcam" else None

    def build_pool(self, trunk: nn.Module) -> GlobalAverage | Flatten | None:
        """Leave pooling to timm in a whole network, unless the head reads the whole map."""
        return super().build_pool(trunk) if self.cut or self.flatten_at else None


class Classifier(nn.Module):
    """A trunk with inserted layers and a head; built by ``build_network``.

    Attributes:
        trunk: the network without head; the keys of a timm network are timm's own.
        left_out: keys and shapes of what the whole network has and this one has not; empty in a whole network.
        attention: the inserted layers, ATTN or their control; ``attention_sites`` names the block of each.
        head: a linear classifier of the features, or a ``MapHead``.
        width: number ``D`` of features; the channels of the last map in most networks.
        trunk_frozen: the trunk stays in evaluation mode, see ``freeze_trunk``.
    """

    trunk_frozen = False

    def __init__(self, config: Structure, classes: int) -> None:
        super().__init__()
        self.trunk, left_out = config.build_trunk()
        self.left_out = {f"trunk.{key}": shape for key, shape in left_out.items()}
        self.pooling = config.build_pool(self.trunk)
        self.width = self.pooling.width if self.pooling else feature_width(self.trunk)
        self.dropout = nn.Dropout(config.dropout)
        self.head = config.build_head(self.trunk, classes) or nn.Linear(self.width, classes)
        # drawn last: with and without ATTN, the same seed starts trunk and head from the same weights
        layers = config.insert_layers(self.trunk)
        self.attention = nn.ModuleDict({site.replace(".", "_"): layer for site, layer in layers.items()})
        self.attention_sites = tuple(layers)

    def train(self, mode: bool = True) -> "Classifier":
        """Set training or evaluation mode; a frozen trunk stays in evaluation mode."""
        super().train(mode)
        if self.trunk_frozen:
            self.trunk.eval()
        return self

    @property
    def reads_lungs(self) -> bool:
        """Whether ``forward`` takes a lung mask beside the image."""
        return isinstance(self.head, MapHead) and self.head.reads_lungs

    def forward(
        self, x: Float[Tensor, "batch 3 h w"], lungs: Bool[Tensor, "batch h w"] | None = None
    ) -> Float[Tensor, "batch classes"] | Mapping[str, Tensor]:
        """Return logits, or of a head with several parts a tensor by part.

        Args:
            x: normalised images.
            lungs: lung masks, for a network that reads them; without them the whole image counts as lung.

        Raises:
            ModelError: lung masks for a network that reads none.
        """
        return self.classify(self.feature_map(x), lungs)

    def classify(
        self, maps: Float[Tensor, "batch channels rows columns"], lungs: Bool[Tensor, "batch h w"] | None = None
    ) -> Float[Tensor, "batch classes"] | Mapping[str, Tensor]:
        """Return what ``forward`` returns, from the last map on."""
        if lungs is not None and not self.reads_lungs:
            raise ModelError("the network reads no lung mask; pass images alone")
        if not isinstance(self.head, MapHead):
            return cast(Tensor, self.head(self.dropout(self.pool(maps))))
        dropped = self.dropout(maps)
        return cast(Tensor, self.head(dropped, lungs) if self.reads_lungs else self.head(dropped))

    def features(self, x: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch width"]:
        """Return pooled features before dropout: what a linear head reads; averaged unless the head is flattened."""
        return self.pool(self.feature_map(x))

    def feature_map(self, x: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch channels rows columns"]:
        """Return the last map, before pooling."""
        return cast(Tensor, self.trunk.forward_features(x))  # type: ignore[operator]

    def pool(self, maps: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch width"]:
        """Return the mean over positions and what timm does after it: a norm in a ConvNeXt, nothing in most.

        A flattened head takes all values instead; behind a cut there is the mean alone.
        """
        if self.pooling is not None:
            return cast(Tensor, self.pooling(maps))
        return cast(Tensor, self.trunk.forward_head(maps, pre_logits=True))  # type: ignore[operator]


def build_network(config: Structure, classes: int, *, seed: int | None = None) -> Classifier:
    """Return a randomly initialised network; with a seed always the same one, and torch's own generator is left alone.

    Example:
        config = NetworkConfig(backbone="resnet18", attention=AttentionConfig(count=5))
        logits = build_network(config, classes=2, seed=0)(images)

    Raises:
        ModelError: the backbone, the cut or a site does not exist, or there are no classes.
    """
    if classes < 1:
        raise ModelError(f"network {config.title!r} needs at least one class, got {classes}")
    if seed is None:
        return Classifier(config, classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Classifier(config, classes)


def require_network(config: Structure, *, side: int) -> None:
    """Refuse a network that cannot be built, or that images of ``side`` pixels do not pass through.

    It is built on the meta device, without weights and arithmetic. What cannot be done there, as some constructors
    read numbers off tensors, is built for real: that has the last word, and gives the reason.

    Raises:
        ModelError: names the network and what is wrong.
    """
    try:
        with torch.device("meta"):
            _pass(config, side)
    except (ModelError, RuntimeError, TypeError, ValueError, AssertionError):
        _pass(config, side)


def require_structure(config: Structure) -> None:
    """Refuse a network that cannot be built, whatever the images: its backbone, its cut or a site does not exist.

    Raises:
        ModelError: names the network and what is wrong.
    """
    try:
        with torch.device("meta"):
            build_network(config, config.least_outputs)
    except (RuntimeError, TypeError, ValueError, AssertionError):
        build_network(config, config.least_outputs)


def _pass(config: Structure, side: int) -> None:
    model = build_network(config, config.least_outputs)
    try:
        with evaluating(model):
            model(torch.zeros(1, 3, side, side))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ModelError(
            f"network {config.title!r}: images of {side} px do not pass through it ({error}); change the crop, or "
            "take another network"
        ) from error


def freeze_trunk(model: Classifier) -> None:
    """Leave inserted layers and head alone to be trained: the trunk keeps its weights and its batch-norm statistics.

    Raises:
        ModelError: the network has no inserted layers.
    """
    if not model.attention_sites:
        raise ModelError(
            "a network without inserted layers has nothing to train beside its trunk and head; insert some"
        )
    model.trunk.requires_grad_(False)
    model.trunk_frozen = True
    model.train(model.training)


def inserted_layers(model: Classifier) -> dict[str, InsertedLayer]:
    """Return the inserted layers by their site, in order; the second of one site as ``<site>#2``."""
    layers = [layer for layer in model.attention.values() if isinstance(layer, InsertedLayer)]
    return dict(zip(model.attention_sites, layers, strict=True))


def attention_layers(model: Classifier) -> dict[str, AttentionLayer]:
    """Return those of the inserted layers that are ATTN layers."""
    return {site: layer for site, layer in inserted_layers(model).items() if isinstance(layer, AttentionLayer)}


@contextmanager
def inserted_off(model: Classifier) -> Iterator[Classifier]:
    """Let all inserted layers pass their map through unchanged inside the block."""
    layers = list(inserted_layers(model).values())
    before = [layer.active for layer in layers]
    try:
        for layer in layers:
            layer.active = False
        yield model
    finally:
        for layer, active in zip(layers, before, strict=True):
            layer.active = active


@torch.no_grad()
def layer_report(model: Classifier, images: Float[Tensor, "batch 3 h w"]) -> dict[str, dict[str, float]]:
    """Return ``{site: {"gamma_abs": …, "entropy": …}}`` of every inserted layer on these images, in evaluation mode.

    ``entropy`` is relative to the logarithm of the number of positions: 1 means that attention is uniform. A layer
    without attention has none.
    """
    layers = inserted_layers(model)
    report = {site: {"gamma_abs": layer.gamma_abs} for site, layer in layers.items()}

    def note(site: str, layer: AttentionLayer, x: Tensor) -> None:
        report[site]["entropy"] = layer.entropy(x)

    handles = [
        layer.register_forward_pre_hook(lambda module, inputs, site=site: note(site, module, inputs[0]))
        for site, layer in attention_layers(model).items()
    ]
    training = model.training
    try:
        model.eval()
        if handles:
            model.feature_map(images)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return report
