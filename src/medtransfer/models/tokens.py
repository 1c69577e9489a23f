"""A vision transformer on the feature map of a convolutional network: every position of the map is a token."""

from functools import partial

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from medtransfer.config import Config
from medtransfer.errors import ModelError

_START_STD = 0.02


class TransformerConfig(Config):
    """Size of the transformer; the defaults are those of ViT-B (P-6).

    Attributes:
        width: features ``D`` of a token.
        layers: pre-norm encoder layers; 0 leaves the transformer out, and the heads read the feature map (an ablation).
        heads: attention heads of a layer; they share ``width``.
        mlp_ratio: hidden features of a layer's MLP as a multiple of ``width``.
        positions: add learned positions to the tokens; without them the order of the tokens is unknown (an ablation).
    """

    width: PositiveInt = 768
    layers: int = Field(default=12, ge=0)
    heads: PositiveInt = 12
    mlp_ratio: float = Field(default=4.0, gt=0)
    positions: bool = True

    @model_validator(mode="after")
    def _share_width(self) -> "TransformerConfig":
        if self.width % self.heads:
            raise ModelError(f"transformer: width {self.width} cannot be shared by {self.heads} heads; change either")
        return self


class TokenTransformer(nn.Module):
    """Projection of a map to tokens, a class token, learned positions, and timm's pre-norm blocks (Park et al. 2022).

    Args:
        config: size.
        channels: of the map.
        grid: rows and columns of the map; positions are learned for these.
    """

    def __init__(self, config: TransformerConfig, channels: int, grid: tuple[int, int]) -> None:
        super().__init__()
        from timm.models.vision_transformer import Block

        self.grid = grid
        self.projection = nn.Conv2d(channels, config.width, 1)
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.width))
        tokens = 1 + grid[0] * grid[1]
        self.positions = nn.Parameter(torch.zeros(1, tokens, config.width)) if config.positions else None
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, mlp_ratio=config.mlp_ratio, qkv_bias=True, norm_layer=norm)
            for _ in range(config.layers)
        )
        self.norm = norm(config.width)
        self._start()

    def forward(
        self, maps: Float[Tensor, "batch channels rows columns"]
    ) -> tuple[Float[Tensor, "batch width"], Float[Tensor, "batch width rows columns"]]:
        """Return the class token and, folded back to a map, the other tokens.

        Raises:
            ModelError: the map is not of the size that the positions were learned for.
        """
        if tuple(maps.shape[2:]) != self.grid:
            raise ModelError(
                f"transformer: a map of {tuple(maps.shape[2:])} positions, expected {self.grid}; pass images of the "
                "side that the network was built for"
            )
        tokens = self.embed(maps)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        return tokens[:, 0], tokens[:, 1:].transpose(1, 2).unflatten(2, self.grid)

    def embed(self, maps: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch tokens width"]:
        """Return the input of the first layer: the class token and the projected positions, row by row."""
        words = self.projection(maps).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(maps), -1, -1), words], 1)
        return tokens if self.positions is None else tokens + self.positions

    def _start(self) -> None:
        """Draw weights from a normal distribution cut at two standard deviations, biases 0 (P-6)."""
        for part in self.modules():
            if isinstance(part, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(part.weight, std=_START_STD)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
        for learned in (self.class_token, self.positions):
            if learned is not None:
                nn.init.trunc_normal_(learned, std=_START_STD)
