"""Parameters of the study: the section ``two_heads`` of params.yaml."""

from pydantic import PositiveFloat

from medtransfer.config import Config, Name
from medtransfer.data.transforms import AugmentConfig
from medtransfer.training.optim import TrainConfig


class MultitaskPhase(Config):
    """All settings of one fit, as they are tracked."""

    dataset: Name
    """X-rays with a label, some with ``zone_0`` to ``zone_5`` too."""
    severity_weight: PositiveFloat = 1.0
    """Weight of the loss of the zones beside that of the classes."""
    augment: AugmentConfig
    train: TrainConfig


class TwoHeadsConfig(Config):
    """Networks × seeds of the study."""

    networks: tuple[Name, ...]
    """Names of timm."""
    seeds: tuple[int, ...]
    model: Name = "two-heads"
    """Name of the registered model."""
    multitask: MultitaskPhase


CONFIG = TwoHeadsConfig
