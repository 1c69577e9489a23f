"""The networks of West et al. 2020: the benchmark CNN, and a pretrained base below one more convolution."""

from typing import Literal

from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor, nn

from medtransfer.models.backbones import create_trunk
from medtransfer.models.classifier import NetworkConfig
from medtransfer.models.structures import GlobalAverage, LeftOut, MapHead, Structure, map_shape
from medtransfer.models.truncate import truncate

FILTERS = (32, 256)
HIDDEN = 128


class BenchmarkConfig(Structure):
    """The paper's CNN from scratch (section 2.3): two 3 × 3 convolutions, each with 2 × 2 max pooling, a dense layer.

    102,835,585 parameters with one output at 224 px, both convolutions with *same* padding (W-2).
    """

    kind: Literal["west_benchmark"] = "west_benchmark"
    side: PositiveInt = 224
    """Side in pixels of the images: the dense layer reads every position."""

    @property
    def title(self) -> str:
        """``benchmark``."""
        return "benchmark"

    def build_trunk(self) -> tuple[nn.Module, LeftOut]:
        """Return the convolutions; the network is whole, nothing is left out."""
        return BenchmarkTrunk(), {}

    def build_head(self, trunk: nn.Module, outputs: int) -> MapHead:
        """Return the dense layers."""
        return DenseHead(map_shape(trunk, self.side), outputs)

    def build_pool(self, trunk: nn.Module) -> GlobalAverage:
        """Return the mean over positions: features for probes, which the dense layers do not read."""
        return GlobalAverage(FILTERS[-1])


class BenchmarkTrunk(nn.Module):
    """Convolution, ReLU and pooling, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, FILTERS[0], 3, padding=1)
        self.conv2 = nn.Conv2d(FILTERS[0], FILTERS[1], 3, padding=1)
        self.pool = nn.MaxPool2d(2)

    def forward_features(self, x: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch channels rows columns"]:
        """Return the map after the second pooling."""
        maps: Tensor = self.pool(self.conv2(self.pool(self.conv1(x).relu())).relu())
        return maps


class DenseHead(MapHead):
    """Every value of the map through a hidden layer of 128 units with ReLU."""

    def __init__(self, shape: tuple[int, int, int], outputs: int) -> None:
        super().__init__()
        channels, rows, columns = shape
        self.hidden = nn.Linear(channels * rows * columns, HIDDEN)
        self.out = nn.Linear(HIDDEN, outputs)
        self.out_features = outputs

    def forward(self, maps: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch outputs"]:
        """Return logits."""
        logits: Tensor = self.out(self.hidden(maps.flatten(1)).relu())
        return logits


class ConvolutionHeadConfig(Structure):
    """A network of timm below the paper's head: a 3 × 3 convolution with ReLU, global average pooling, a dense layer.

    *Same* padding and ReLU are not stated (W-2).
    """

    kind: Literal["conv_head"] = "conv_head"
    backbone: str
    cut: str = ""
    """The block after which the base ends, one of ``truncate.cuts``; empty leaves it whole."""
    filters: PositiveInt = 64

    @property
    def title(self) -> str:
        """For example ``vgg16_conv64``."""
        return f"{self.base.title}_conv{self.filters}"

    @property
    def base(self) -> NetworkConfig:
        """The network whose weights are below the head."""
        return NetworkConfig(backbone=self.backbone, cut=self.cut)

    def build_trunk(self) -> tuple[nn.Module, LeftOut]:
        """Return timm's network up to the cut, without dense layers that follow its last map (VGG16 has two)."""
        trunk = create_trunk(self.backbone, cut=bool(self.cut))
        if self.cut:
            return trunk, truncate(trunk, self.cut)
        dense = getattr(trunk, "pre_logits", None)
        if dense is None or isinstance(dense, nn.Identity):
            return trunk, {}
        trunk.pre_logits = nn.Identity()
        return trunk, {f"pre_logits.{key}": tuple(value.shape) for key, value in dense.state_dict().items()}

    def build_head(self, trunk: nn.Module, outputs: int) -> MapHead:
        """Return the convolution and the dense layer."""
        channels = map_shape(trunk, self.least_side)[0]
        return ConvolutionHead(channels, self.filters, outputs)

    def build_pool(self, trunk: nn.Module) -> GlobalAverage:
        """Return the mean of the base's map: features for probes."""
        return GlobalAverage(map_shape(trunk, self.least_side)[0])


class ConvolutionHead(MapHead):
    """Convolution, ReLU, mean over positions, one linear layer."""

    def __init__(self, channels: int, filters: int, outputs: int) -> None:
        super().__init__()
        self.conv = ContiguousConv2d(channels, filters, 3, padding=1)
        self.out = nn.Linear(filters, outputs)
        self.out_features = outputs

    def forward(self, maps: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch outputs"]:
        """Return logits."""
        logits: Tensor = self.out(self.conv(maps).relu().mean((2, 3)))
        return logits


class ContiguousConv2d(nn.Conv2d):
    """A convolution that leaves the memory format channels last: on small maps a CPU is twice as fast without."""

    def forward(self, input: Tensor) -> Tensor:  # the name is torch's
        """Return the convolution of a map."""
        found: Tensor = self._conv_forward(input.contiguous(), self.weight.contiguous(), self.bias)
        return found
