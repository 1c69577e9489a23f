"""Momentum contrast (He et al. 2020; v2: Chen et al. 2020), correct with batch norm on one device."""

import math
from copy import deepcopy
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from medtransfer.config import Config
from medtransfer.errors import ConfigError
from medtransfer.losses.contrastive import info_nce
from medtransfer.ssl.base import Batch, HeadKind, SelfSupervised, features, projection, unit, width
from medtransfer.ssl.groups import GroupedBatchNorm, crossed_order
from medtransfer.ssl.momentum import norms, update_momentum_
from medtransfer.ssl.queue import KeyQueue, check_queue, processes


class MomentumConfig(Config):
    """The contrastive part that MoCo and the multi-scale method share; defaults are those of MoCo v1."""

    head: HeadKind = "linear"
    dim: int = Field(128, gt=0, description="length of queries and keys")
    temperature: float = Field(0.07, gt=0)
    momentum: float = Field(0.999, ge=0, le=1, description="m of Eq. 3")
    queue: int = Field(256, gt=0, description="negatives; a multiple of the batch, at most the training images")
    key_norm: Literal["groups", "moving_average"] = Field(
        "groups", description="what keeps batch norm from telling keys"
    )
    key_groups: int | None = Field(None, ge=1, description="batch-norm groups a step; null: ceil(sqrt(batch)); 1: none")
    gather_keys: bool = Field(True, description="one queue for all processes")

    @model_validator(mode="after")
    def _groups_are_read(self) -> "MomentumConfig":
        if self.key_norm == "moving_average" and self.key_groups is not None:
            raise ValueError(
                f"key_groups is {self.key_groups} with key_norm moving_average, expected null: "
                "keys normalised with moving averages need no groups; leave key_groups out or set key_norm to groups"
            )
        return self


class MoCoConfig(MomentumConfig):
    """Momentum contrast alone: ``head: linear`` is v1, ``head: mlp`` with temperature 0.2 is v2."""

    name: Literal["moco"] = "moco"


class MomentumBranch(nn.Module):
    """Key encoder, heads and queue: everything of momentum contrast but the query encoder, which the caller owns.

    Batch norm must not reveal which key belongs to a query. With ``key_norm: groups`` queries and keys are normalised
    in crossed groups. With ``moving_average`` (EMAN, Cai et al. 2021) queries are normalised by their whole batch, and
    keys by running statistics that follow the query encoder's as the weights do: a key depends on its image alone.
    """

    def __init__(self, config: MomentumConfig, encoder: nn.Module, *, groups: int) -> None:
        super().__init__()
        self.config = config
        self.groups = groups
        self.averaged = config.key_norm == "moving_average"
        self.head = projection(config.head, width(encoder), config.dim)
        self.key_encoder = deepcopy(encoder).requires_grad_(False)
        self.key_head = deepcopy(self.head).requires_grad_(False)
        self.queue = KeyQueue(config.queue, config.dim)
        self._keep_averages()

    def train(self, mode: bool = True) -> "MomentumBranch":
        """Set the mode of every layer; batch norm that reads moving averages stays in evaluation mode."""
        super().train(mode)
        self._keep_averages()
        return self

    def _keep_averages(self) -> None:
        for layer in norms(self.key_encoder) if self.averaged else ():
            layer.eval()

    def forward(self, encoder: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        """Return the contrastive loss; in training also move the key encoder (before its pass) and fill the queue."""
        if self.training:
            update_momentum_(self.key_encoder, encoder, self.config.momentum, statistics=self.averaged)
            update_momentum_(self.key_head, self.head, self.config.momentum)
        query, key = self.encode(encoder, batch)
        # cloned: the push below writes into what the backward pass still reads
        loss = info_nce(
            query,
            key,
            self.queue.keys.clone(),
            temperature=self.config.temperature,
            own=self.queue.own(batch["index"]),
        )
        if self.training:
            self.queue.push(key, batch["index"], gather=self.config.gather_keys)
        return loss

    def encode(self, encoder: nn.Module, batch: Batch) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim"]]:
        """Return unit queries (with gradient) and unit keys (without), batch norm seeing crossed groups if any."""
        order = crossed_order(len(batch["index"]), self.groups, device=batch["index"].device)
        with GroupedBatchNorm(self.groups):
            # keys first: what the queries keep for their backward pass is not in memory yet
            with torch.no_grad():
                key = unit(self.key_head(features(self.key_encoder, batch["key"][order])))
            query = unit(self.head(features(encoder, batch["query"])))
        return query, key[order.argsort()]


class MoCo(SelfSupervised):
    """Momentum contrast alone."""

    def __init__(self, config: MoCoConfig, encoder: nn.Module, *, images: int, batch_size: int) -> None:
        super().__init__(encoder)
        self.contrast = momentum_branch(config, encoder, images=images, batch_size=batch_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``contrastive`` and ``total``, which are the same here."""
        loss = self.contrast(self.encoder, batch)
        return {"contrastive": loss, "total": loss}


def momentum_branch(config: MomentumConfig, encoder: nn.Module, *, images: int, batch_size: int) -> MomentumBranch:
    """Check the configuration against the training set and build the branch.

    Args:
        config: of MoCo or the multi-scale method.
        encoder: the query encoder; it is copied for the keys.
        images: training images.
        batch_size: images per step, of all processes together.

    Raises:
        ConfigError: queue or groups do not fit.
    """
    check_queue(config.queue, images=images, batch_size=batch_size)
    averaged = config.key_norm == "moving_average"
    return MomentumBranch(
        config, encoder, groups=1 if averaged else _groups(config.key_groups, batch_size // processes())
    )


def _groups(wanted: int | None, batch: int) -> int:
    """Return the number of batch-norm groups for the images of one process, since batch norm sees no others."""
    fewest, most = math.ceil(math.sqrt(batch)), batch // 2
    groups = wanted or fewest
    if groups == 1 or fewest <= groups <= most:
        return groups
    advice = (
        f"set key_groups between {fewest} and {most}" if fewest <= most else "use 4, or at least 6, images per process"
    )
    raise ConfigError(
        f"ssl.key_groups is {groups} for a batch of {batch}, expected groups of at least two images that share at most "
        f"one, so that batch norm does not reveal which key belongs to a query: {advice}, "
        "or set key_groups to 1 for a network without batch norm"
    )
