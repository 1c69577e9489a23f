"""The multi-scale method of Liu & Ji 2021, section 5: contrast of whole images plus naming of lobe regions."""

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from medtransfer.losses.regions import REGIONS, region_accuracy, region_loss, total_loss
from medtransfer.ssl.base import Batch, SelfSupervised, features, width
from medtransfer.ssl.groups import KeptStatistics, moves_statistics
from medtransfer.ssl.moco import MomentumConfig, momentum_branch


class MultiScaleConfig(MomentumConfig):
    """Eq. 2 to 6; a weight of 0 leaves that branch out, its passes and its parameters too."""

    name: Literal["multiscale"] = "multiscale"
    alpha1: float = Field(0.8, ge=0, description="weight of the contrastive loss in Eq. 6")
    alpha2: float = Field(0.8, ge=0, description="weight of the region loss in Eq. 6")
    region_reduction: Literal["mean", "sum"] = Field("mean", description="over the images of a batch")

    @model_validator(mode="after")
    def _something_to_learn(self) -> "MultiScaleConfig":
        if self.alpha1 == 0 and self.alpha2 == 0:
            raise ValueError("alpha1 and alpha2 are both 0, expected at least one above 0: nothing would be learnt")
        return self


class MultiScale(SelfSupervised):
    """Momentum contrast at image scale and a five-way region classifier on the query encoder's pooled features.

    Crops pass on their own, not stacked with whole images, so that batch norm does not mix the two scales. Running
    statistics are those of whole images, the scale at which every later pass reads the encoder.
    """

    def __init__(self, config: MultiScaleConfig, encoder: nn.Module, *, images: int, batch_size: int) -> None:
        super().__init__(encoder)
        self.config = config
        self.contrast = (
            momentum_branch(config, encoder, images=images, batch_size=batch_size) if config.alpha1 else None
        )
        self.region_head = nn.Linear(width(encoder), len(REGIONS)) if config.alpha2 else None

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``total`` (Eq. 6) and, of the branches that are on, ``contrastive``, ``region``, ``region_accuracy``.

        ``region_accuracy`` is a metric without gradient. With ``alpha1`` 0 the whole images of ``query`` pass too while
        training, without gradient, for the running statistics alone.
        """
        losses: dict[str, Tensor] = {}
        if self.contrast is not None:
            losses["contrastive"] = self.contrast(self.encoder, batch)
        if self.region_head is not None:
            with KeptStatistics():
                pooled = features(self.encoder, batch["regions"])
            logits = self.region_head(pooled)
            losses["region"] = region_loss(logits, reduction=self.config.region_reduction)
            losses["region_accuracy"] = region_accuracy(logits)
        if self.contrast is None and moves_statistics(self.encoder):
            # behind the regions, so that what dropout draws for them stays the same
            with torch.no_grad():
                features(self.encoder, batch["query"])
        nothing = next(iter(losses.values())).new_zeros(())
        losses["total"] = total_loss(
            losses.get("contrastive", nothing), losses.get("region", nothing), self.config.alpha1, self.config.alpha2
        )
        return losses
