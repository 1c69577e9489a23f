"""SimCLR (Chen et al. 2020): the other images of the batch are the negatives."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from medtransfer.config import Config
from medtransfer.losses.contrastive import nt_xent
from medtransfer.ssl.base import Batch, SelfSupervised, features, projection, unit, width


class SimCLRConfig(Config):
    """Contrast inside the batch, with the two-layer head."""

    name: Literal["simclr"] = "simclr"
    dim: int = Field(128, gt=0, description="length of the projections")
    temperature: float = Field(0.1, gt=0)


class SimCLR(SelfSupervised):
    """Both views pass in one batch, so batch norm treats partner and negatives alike. Negatives: this process only."""

    def __init__(self, config: SimCLRConfig, encoder: nn.Module) -> None:
        super().__init__(encoder)
        self.config = config
        self.head = projection("mlp", width(encoder), config.dim)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``contrastive`` and ``total``, which are the same here."""
        views = torch.stack([batch["query"], batch["key"]], dim=1).flatten(0, 1)
        loss = nt_xent(unit(self.head(features(self.encoder, views))), self.config.temperature)
        return {"contrastive": loss, "total": loss}
