"""Parameters of the attentive-transfer study. The paper's values are in profiles/paper.yaml."""

import re
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from medtransfer.config import Config
from medtransfer.data.transforms import AugmentConfig
from medtransfer.errors import ConfigError
from medtransfer.models.classifier import NetworkConfig
from medtransfer.models.insertion import AttentionConfig
from medtransfer.models.weights import FileInit, TimmInit, TrainInit
from medtransfer.ssl.methods import SSLConfig
from medtransfer.training.optim import TrainConfig

NETWORK_NAME = re.compile(r"(?P<backbone>.+)_attn(?P<count>\d+)")


class RegistryStart(Config):
    """Start from a registered model."""

    kind: Literal["registry"] = "registry"
    model: str = Field(pattern=r"^models:/")


class AttentionDefaults(Config):
    """How ATTN layers are built and placed; sites given for a network name win over the counted placement."""

    placement: Literal["spread", "tail", "stacked"] = "spread"
    scale: bool = False
    sites: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class SupervisedPhase(Config):
    """A phase that learns from labels."""

    dataset: str
    dropout: float = Field(0.0, ge=0, lt=1)
    augment: AugmentConfig
    train: TrainConfig


class SelfSupervisedPhase(Config):
    """The self-supervised phase: two views of each slice, and its five lobe regions."""

    dataset: str
    method: SSLConfig
    augment: AugmentConfig
    region_size: PositiveInt
    region_augment: AugmentConfig
    probe_neighbours: PositiveInt = 20
    train: TrainConfig


class AttentiveTransferConfig(Config):
    """Networks × chains × seeds of the study and its four phases."""

    networks: tuple[str, ...]
    """``<timm name>_attn<number of ATTN layers>``, for example ``resnet50_attn5``."""
    attention: AttentionDefaults = AttentionDefaults()
    chains: tuple[str, ...]
    """``none``, or phases joined by ``-`` from a starting point: ``none-stl_m``, ``stl_n-stl_m-sstl_m``."""
    stl_m_after: tuple[str, ...]
    """Chains that STL-M continues; each makes the chain ``<after>-stl_m``."""
    sstl_m_after: tuple[str, ...]
    """Chains that SSTL-M continues."""
    seeds: tuple[int, ...]
    pretrain_seeds: tuple[int, ...]
    """Fine-tuning seed number i starts from pretraining seed number i modulo their count."""
    start: Annotated[TrainInit | TimmInit | FileInit | RegistryStart, Field(discriminator="kind")]
    """Where ``stl_n`` takes its weights from: trained here, or ready-made weights under the ATTN layers."""
    stl_n: SupervisedPhase
    stl_m: SupervisedPhase
    sstl_m: SelfSupervisedPhase
    finetune: SupervisedPhase
    positive: str = "covid"
    outside: tuple[str, ...] = ()
    """Data sets that no stage trains on; the fine-tuned networks are evaluated on them as they are."""

    @model_validator(mode="after")
    def _chains_are_made(self) -> "AttentiveTransferConfig":
        made = {"none", "stl_n"}
        for phase, before in (("stl_m", self.stl_m_after), ("sstl_m", self.sstl_m_after)):
            absent = [chain for chain in before if chain not in made]
            if absent:
                raise ValueError(
                    f"{phase}_after: no phase makes the chain {absent[0]!r}; there are {', '.join(sorted(made))}"
                )
            made |= {f"{chain}-{phase}" for chain in before}
        absent = [chain for chain in self.chains if chain not in made]
        if absent:
            raise ValueError(f"chains: no phase makes {absent[0]!r}; there are {', '.join(sorted(made))}")
        return self

    def network(self, name: str, dropout: float = 0.0) -> NetworkConfig:
        """Return the network that a name stands for.

        Raises:
            ConfigError: the name does not end in ``_attn<number>``.
        """
        match = NETWORK_NAME.fullmatch(name)
        if match is None:
            raise ConfigError(f"network {name!r}: expected <timm name>_attn<number>, for example resnet50_attn5")
        sites = self.attention.sites.get(name, ())
        attention = AttentionConfig(
            count=0 if sites else int(match["count"]),
            placement=self.attention.placement,
            sites=sites,
            scale=self.attention.scale,
        )
        return NetworkConfig(backbone=match["backbone"], attention=attention, dropout=dropout)


def chain_title(chain: str) -> str:
    """Return how a chain is written in run names and tables: ``stl_n→stl_m→sstl_m``, ``none`` for no transfer."""
    steps = [step for step in chain.split("-") if step != "none"]
    return "→".join(steps) or "none"
