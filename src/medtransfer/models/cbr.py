"""The small CBR networks of Raghu et al. 2019 (Transfusion, appendix A) that Peng et al. 2021 compare with."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from medtransfer.errors import ModelError
from medtransfer.models.structures import LeftOut, Structure


@dataclass(frozen=True)
class _Layout:
    kernel: int
    channels: tuple[int, ...]
    last_pool: bool = True


_LAYOUTS = {
    "larget": _Layout(7, (32, 64, 128, 256, 512), last_pool=False),
    "largew": _Layout(7, (64, 128, 256, 512)),
    "small": _Layout(7, (32, 64, 128, 256)),
    "tiny": _Layout(5, (64, 128, 256, 512)),
    "tiny_w32": _Layout(5, (32, 64, 128, 256)),
}


class CBRConfig(Structure):
    """A row of convolution, batch norm, ReLU and pooling.

    ``tiny`` has the width of the released code, ``tiny_w32`` the one that Raghu's parameter table fits (G-4). Without
    padding, as released (G-5), images must be large: 217 px for ``larget``; ``same`` padding takes small ones.
    """

    kind: Literal["cbr"] = "cbr"
    size: Literal["larget", "largew", "small", "tiny", "tiny_w32"]
    padding: Literal["valid", "same"] = "valid"
    dropout: float = Field(default=0.1, ge=0, lt=1)

    least_side: ClassVar[int] = 224

    @property
    def title(self) -> str:
        """For example ``cbr_tiny`` or ``cbr_larget_same``."""
        return f"cbr_{self.size}" + ("_same" if self.padding == "same" else "")

    def build_trunk(self) -> tuple[nn.Module, LeftOut]:
        """Return the network without head; it is whole, nothing is left out."""
        return CBRTrunk(_LAYOUTS[self.size], padded=self.padding == "same"), {}


class CBRBlock(nn.Module):
    """Convolution (stride 1, with bias), batch norm, ReLU, 3 × 3 max pooling with stride 2 where there is one."""

    def __init__(self, channels: tuple[int, int], kernel: int, *, padded: bool, pool: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(*channels, kernel, padding=kernel // 2 if padded else 0)
        self.norm = nn.BatchNorm2d(channels[1])
        self.act = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1 if padded else 0) if pool else nn.Identity()

    def forward(self, x: Float[Tensor, "batch inputs h w"]) -> Float[Tensor, "batch outputs rows columns"]:
        """Return the block's map."""
        pooled: Tensor = self.pool(self.act(self.norm(self.conv(x))))
        return pooled


class CBRTrunk(nn.Module):
    """The blocks of one layout."""

    def __init__(self, layout: _Layout, *, padded: bool) -> None:
        super().__init__()
        pairs = list(zip((3, *layout.channels), layout.channels, strict=False))
        self.blocks = nn.Sequential(
            *(
                CBRBlock(pair, layout.kernel, padded=padded, pool=layout.last_pool or number < len(pairs))
                for number, pair in enumerate(pairs, start=1)
            )
        )
        self.least_side = 1 if padded else _least_side(layout)

    def forward_features(self, x: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch channels rows columns"]:
        """Return the last map.

        Raises:
            ModelError: the images are so small that unpadded convolutions leave no map.
        """
        if min(x.shape[2:]) < self.least_side:
            raise ModelError(
                f"CBR without padding needs images of at least {self.least_side} px, got {x.shape[2]} × {x.shape[3]};"
                " take larger ones or padding: same"
            )
        maps: Tensor = self.blocks(x)
        return maps


def _least_side(layout: _Layout) -> int:
    """Return the side in pixels that leaves a map of 1 × 1, walking back from it."""
    side = 1
    for number in range(len(layout.channels), 0, -1):
        pooled = layout.last_pool or number < len(layout.channels)
        side = (2 * side + 1 if pooled else side) + layout.kernel - 1
    return side
