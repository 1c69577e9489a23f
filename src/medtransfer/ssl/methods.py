"""The methods by configuration."""

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from medtransfer.errors import ConfigError
from medtransfer.ssl.base import SelfSupervised
from medtransfer.ssl.moco import MoCo, MoCoConfig
from medtransfer.ssl.multiscale import MultiScale, MultiScaleConfig
from medtransfer.ssl.queue import processes
from medtransfer.ssl.simclr import SimCLR, SimCLRConfig

SSLConfig = Annotated[MultiScaleConfig | MoCoConfig | SimCLRConfig, Field(discriminator="name")]
"""Which method, by its ``name``."""


def build(
    config: MultiScaleConfig | MoCoConfig | SimCLRConfig, encoder: nn.Module, *, images: int, batch_size: int, seed: int
) -> SelfSupervised:
    """Build a method around an encoder.

    Args:
        config: one member of ``SSLConfig``.
        encoder: has ``features(x) -> [B, width]`` and ``width``; trained in place.
        images: training images, for the size of the queue.
        batch_size: images per step, of all processes together.
        seed: of the method's own random weights and queue; torch's own generator is left alone.

    Raises:
        ConfigError: a process has a batch of one, or the queue or the batch-norm groups do not fit the training set.
    """
    if batch_size < 2 * processes():
        raise ConfigError(
            f"train.batch_size is {batch_size} for {processes()} process(es), expected at least 2 images each: "
            "one image alone has nothing to differ from; raise batch_size"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match config:
            case MultiScaleConfig():
                return MultiScale(config, encoder, images=images, batch_size=batch_size)
            case MoCoConfig():
                return MoCo(config, encoder, images=images, batch_size=batch_size)
            case SimCLRConfig():
                return SimCLR(config, encoder)
