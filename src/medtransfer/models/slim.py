"""DenseNets with a slimmer top: pretrained bottom, random top, the "transfusion" of Peng et al. 2021."""

from typing import Any, Literal

from pydantic import Field
from torch import nn

from medtransfer.errors import ModelError
from medtransfer.models.backbones import create_trunk
from medtransfer.models.structures import LeftOut, Structure

_SHRINK = 2


class SlimConfig(Structure):
    """A DenseNet whose growth rate is halved in every dense block after block ``after`` (G-6)."""

    kind: Literal["slim"] = "slim"
    backbone: str = "densenet121"
    after: int = Field(ge=1)
    """The last dense block as in the whole network; up to its transition pretrained weights fit."""

    @property
    def title(self) -> str:
        """For example ``densenet121_s2``."""
        return f"{self.backbone}_s{self.after}"

    def build_trunk(self) -> tuple[nn.Module, LeftOut]:
        """Return timm's DenseNet with another top, and the whole network's weights of that top.

        Raises:
            ModelError: the backbone is no DenseNet, or has no dense block after ``after``.
        """
        trunk = create_trunk(self.backbone)
        return trunk, slim_top(trunk, after=self.after, name=self.backbone)


def slim_top(trunk: nn.Module, *, after: int, name: str) -> dict[str, tuple[int, ...]]:
    """Rebuild a DenseNet's top in place with half the growth rate; return keys and shapes of the weights that are gone.

    Transitions still halve their input. The new part starts as timm's DenseNets do: convolutions Kaiming normal, batch
    norm 1 and 0.

    Args:
        trunk: timm's DenseNet without classifier.
        after: number of the last dense block that stays.
        name: the network's name, for messages.

    Raises:
        ModelError: the trunk is no DenseNet, or has no dense block after ``after``.
    """
    features: Any = getattr(trunk, "features", nn.Module())
    if not hasattr(features, "denseblock1"):
        raise ModelError(f"network {name!r} is not a DenseNet: only their growth rate can be halved; cut it instead")
    blocks = sum(part.startswith("denseblock") for part, _ in features.named_children())
    if after >= blocks:
        raise ModelError(
            f"network {name!r} has {blocks} dense blocks: its growth rate can be halved after blocks 1 to "
            f"{blocks - 1}, got {after}"
        )
    before = {key: tuple(value.shape) for key, value in trunk.state_dict().items()}
    changed = _rebuild(features, range(after + 1, blocks + 1))
    return {key: shape for key, shape in before.items() if key.startswith(changed)}


def _rebuild(features: Any, numbers: range) -> tuple[str, ...]:
    """Replace dense blocks, the transitions between them and the last norm; return the prefixes of their keys."""
    from timm.models.densenet import DenseBlock, DenseTransition

    width = features.get_submodule(f"denseblock{numbers[0]}.denselayer1.conv1").in_channels
    first = features.get_submodule(f"denseblock{numbers[0]}.denselayer1")
    growth, bottleneck = first.conv2.out_channels // _SHRINK, first.conv1.out_channels // first.conv2.out_channels
    norm = type(features.norm5)
    changed = []
    for number in numbers:
        layers = len(features.get_submodule(f"denseblock{number}"))
        block = DenseBlock(layers, width, bn_size=bottleneck, growth_rate=growth, norm_layer=norm)
        features.register_module(f"denseblock{number}", block)
        changed.append(f"features.denseblock{number}.")
        width += layers * growth
        if number < numbers[-1]:
            features.register_module(f"transition{number}", DenseTransition(width, width // 2, norm_layer=norm))
            changed.append(f"features.transition{number}.")
            width //= 2
    features.norm5 = norm(width)
    for name in [*changed, "features.norm5."]:
        _start(features.get_submodule(name.removeprefix("features.").removesuffix(".")))
    return (*changed, "features.norm5.")


def _start(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
