"""What every kind of network shares: its configuration builds a trunk, and what its head reads of the last map."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from medtransfer.config import Config
from medtransfer.errors import ModelError
from medtransfer.models.backbones import evaluating, probe_side
from medtransfer.models.inserted import InsertedLayer

LeftOut = Mapping[str, tuple[int, ...]]
"""Keys and shapes of the weights that the whole network has and a trunk made from it has not."""


class GlobalAverage(nn.Module):
    """The mean of every channel over all positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.width = channels

    def forward(self, maps: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch channels"]:
        """Return the means."""
        return maps.mean((2, 3))


class Flatten(nn.Module):
    """Every value of maps of one shape, as the released code of Peng et al. reads them (G-3)."""

    def __init__(self, shape: tuple[int, int, int], side: int) -> None:
        super().__init__()
        self.shape, self.side = shape, side
        self.width = shape[0] * shape[1] * shape[2]

    def forward(self, maps: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch width"]:
        """Return the values, channel by channel.

        Raises:
            ModelError: the map is not of the shape that the head was built for.
        """
        if tuple(maps.shape[1:]) != self.shape:
            raise ModelError(
                f"flattened head: built for images of {self.side} px, whose last map is {self.shape}, got "
                f"{tuple(maps.shape[1:])}; set flatten_at to the images' side, or leave it out to average the map"
            )
        return maps.flatten(1)


class Structure(Config):
    """What all networks have: dropout before the head, and whether the head reads the map's mean or all of it."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    flatten_at: PositiveInt | None = None
    """Side in pixels of the images whose whole last map the head reads; without it the map is averaged."""

    least_side: ClassVar[int] = 96
    """Side in pixels of an image that surely leaves a map."""

    @abstractmethod
    def build_trunk(self) -> tuple[nn.Module, LeftOut]:
        """Return a randomly initialised trunk, and what its whole network has and it has not.

        The trunk's ``forward_features`` maps images ``[batch, 3, h, w]`` to its last map.
        """

    @property
    @abstractmethod
    def title(self) -> str:
        """The structure in one word, for messages."""

    def insert_layers(self, trunk: nn.Module) -> dict[str, InsertedLayer]:
        """Attach new layers to a trunk and return them by site; most structures have none."""
        return {}

    def build_pool(self, trunk: nn.Module) -> GlobalAverage | Flatten | None:
        """Return what turns the last map into features of ``width``; ``None`` leaves that to the trunk."""
        shape = map_shape(trunk, self.flatten_at or max(self.least_side, probe_side(trunk)))
        return Flatten(shape, self.flatten_at) if self.flatten_at else GlobalAverage(shape[0])


def map_shape(trunk: nn.Module, side: int) -> tuple[int, int, int]:
    """Return channels, rows and columns of a trunk's last map for square images of ``side`` pixels."""
    with evaluating(trunk):
        maps: Tensor = trunk.forward_features(next(trunk.parameters()).new_zeros(1, 3, side, side))  # type: ignore[operator]
    channels, rows, columns = maps.shape[1:]
    return channels, rows, columns
