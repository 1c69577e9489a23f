"""Parameters of the attentive-transfer study. The paper's values are in profiles/paper.yaml."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from medtransfer.config import Config, Name
from medtransfer.data.transforms import AugmentConfig
from medtransfer.errors import ConfigError
from medtransfer.models.classifier import NetworkConfig
from medtransfer.models.insertion import AttentionConfig
from medtransfer.ssl.methods import SSLConfig
from medtransfer.ssl.multiscale import MultiScaleConfig
from medtransfer.ssl.regions import BoxTable
from medtransfer.training.initialization import StartConfig
from medtransfer.training.optim import TrainConfig

STEP_NAME = r"^[a-z][a-z0-9_]*$"
ATTENTION_OFF = "attention_off"
"""The intervention of predictions that were made with the network's ATTN layers switched off."""
NETWORK_NAME = re.compile(r"(?P<backbone>.+)_attn(?P<count>\d+)")


class AttentionDefaults(Config):
    """How ATTN layers are built and placed; sites given for a network name win over the counted placement."""

    placement: Literal["spread", "tail", "stacked"] = "spread"
    scale: bool = False
    sites: dict[Name, tuple[str, ...]] = Field(default_factory=dict)


class SupervisedPhase(Config):
    """A phase that learns from labels."""

    dataset: Name
    dropout: float = Field(0.0, ge=0, lt=1)
    augment: AugmentConfig
    train: TrainConfig


class Recipe(Config):
    """How a self-supervised phase learns: method, two views of each slice, its five lobe regions, and the budget."""

    method: SSLConfig
    augment: AugmentConfig
    region_size: PositiveInt | None = None
    region_augment: AugmentConfig | None = None
    boxes: BoxTable = "axial"
    """Where the lobes are in the lungs' box: made for axial slices, or the reference's, which stacks them."""
    train: TrainConfig

    @property
    def wants_regions(self) -> bool:
        """Whether the method reads lobe regions; without a weight of their loss none are cut."""
        return isinstance(self.method, MultiScaleConfig) and self.method.alpha2 > 0

    @model_validator(mode="after")
    def _regions_are_described(self) -> "Recipe":
        if self.wants_regions and (self.region_size is None or self.region_augment is None):
            raise ValueError("a region loss (alpha2 above 0) needs region_size and region_augment; add both")
        return self


class SelfSupervisedPhase(Recipe):
    """The self-supervised phase: its recipe, and the data set that the recipes compared with it read too."""

    dataset: Name
    probe_neighbours: PositiveInt = 20


class AttentiveTransferConfig(Config):
    """Networks × chains × seeds of the study and its four phases."""

    networks: tuple[Name, ...] = Field(min_length=1)
    """``<timm name>_attn<number of ATTN layers>``, for example ``resnet50_attn5``."""
    attention: AttentionDefaults = AttentionDefaults()
    chains: tuple[Name, ...]
    """``none``, or phases joined by ``-`` from a starting point: ``none-stl_m``, ``stl_n-stl_m-sstl_m``."""
    stl_m_after: tuple[Name, ...]
    """Chains that STL-M continues; each makes the chain ``<after>-stl_m``."""
    sstl_m_after: tuple[Name, ...]
    """Chains that SSTL-M, the paper's multi-scale method, continues."""
    methods: tuple[Name, ...] = ()
    """Recipes that take the place of SSTL-M, for comparison; each makes the chain ``<after>-<recipe>``."""
    methods_after: tuple[Name, ...] = ()
    """Chains that the compared methods continue."""
    seeds: tuple[int, ...] = Field(min_length=1)
    pretrain_seeds: tuple[int, ...] = Field(min_length=1)
    """Fine-tuning seed number i starts from pretraining seed number i modulo their count."""
    start: StartConfig
    """Where ``stl_n`` takes its weights from: trained here, or ready-made weights under the ATTN layers."""
    stl_n: SupervisedPhase
    stl_m: SupervisedPhase
    sstl_m: SelfSupervisedPhase
    recipes: dict[Annotated[Name, Field(pattern=STEP_NAME)], Recipe] = Field(default_factory=dict)
    """Recipes in the place of SSTL-M's, by the name that they have in a chain: ``moco``, ``simclr``, …"""
    finetune: SupervisedPhase
    model: Name = "covid-ct"
    """Registered model that the best fine-tuned network becomes."""
    positive: str = "covid"
    outside: tuple[Name, ...] = ()
    """Data sets that no stage trains on; the fine-tuned networks are evaluated on them as they are."""

    @field_validator("networks", "chains", "seeds", "pretrain_seeds")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice} occurs twice, expected each once; remove one")
        return values

    @model_validator(mode="after")
    def _networks_have_the_layers_they_name(self) -> "AttentiveTransferConfig":
        unknown = [name for name in self.attention.sites if name not in self.networks]
        if unknown:
            raise ValueError(f"attention.sites: {unknown[0]!r} is no network; there are {', '.join(self.networks)}")
        for name in self.networks:
            _, layers = _named(name)
            sites = len(self.attention.sites.get(name, ()))
            if sites and sites != layers:
                raise ValueError(f"attention.sites of {name!r}: {sites} blocks, expected the {layers} of its name")
            if not sites and layers not in (0, 1, 5):
                raise ValueError(
                    f"network {name!r}: only 0, 1 or 5 layers have places of their own; name {layers} blocks under "
                    "attention.sites"
                )
        return self

    @model_validator(mode="after")
    def _chains_are_made(self) -> "AttentiveTransferConfig":
        unknown = [name for name in self.methods if name not in self.recipes]
        if unknown:
            raise ValueError(
                f"methods: no recipe is called {unknown[0]!r}; there are {', '.join(self.recipes) or 'none'}"
            )
        made = {"none", "stl_n"}
        supervised = dict.fromkeys(self.stl_m_after, ("stl_m",))
        compared = dict.fromkeys(self.methods_after, self.methods)
        for key, steps in (
            ("stl_m_after", supervised),
            ("sstl_m_after", dict.fromkeys(self.sstl_m_after, ("sstl_m",))),
            ("methods_after", compared),
        ):
            absent = [chain for chain in steps if chain not in made]
            if absent:
                raise ValueError(f"{key}: no phase makes the chain {absent[0]!r}; there are {', '.join(sorted(made))}")
            made |= {f"{chain}-{step}" for chain, names in steps.items() for step in names}
        absent = [chain for chain in self.chains if chain not in made]
        if absent:
            raise ValueError(f"chains: no phase makes {absent[0]!r}; there are {', '.join(sorted(made))}")
        return self

    def recipe(self, chain: str) -> SelfSupervisedPhase | None:
        """Return the self-supervised phase that a chain ends with, ``None`` when its last step learns from labels."""
        step = chain.rpartition("-")[2]
        if step == "sstl_m":
            return self.sstl_m
        if step not in self.recipes:
            return None
        shared = {"dataset": self.sstl_m.dataset, "probe_neighbours": self.sstl_m.probe_neighbours}
        return SelfSupervisedPhase(**dict(self.recipes[step]), **shared)

    def self_supervised(self, chain: str) -> SelfSupervisedPhase:
        """Return the self-supervised phase that a chain ends with.

        Raises:
            ConfigError: its last step learns from labels.
        """
        recipe = self.recipe(chain)
        if recipe is None:
            named = ", ".join(("sstl_m", *self.recipes))
            raise ConfigError(f"chain {chain!r} ends with no self-supervised step, expected one of {named}")
        return recipe

    def network(self, name: str, dropout: float = 0.0) -> NetworkConfig:
        """Return the network that a name stands for.

        Raises:
            ConfigError: the name does not end in ``_attn<number>``.
        """
        backbone, layers = _named(name)
        sites = self.attention.sites.get(name, ())
        attention = AttentionConfig(
            count=0 if sites else layers,
            placement=self.attention.placement,
            sites=sites,
            scale=self.attention.scale,
        )
        return NetworkConfig(backbone=backbone, attention=attention, dropout=dropout)


def _named(network: str) -> tuple[str, int]:
    """Return the backbone and the number of ATTN layers that a network's name states."""
    match = NETWORK_NAME.fullmatch(network)
    if match is None:
        raise ConfigError(f"network {network!r}: expected <timm name>_attn<number>, for example resnet50_attn5")
    return match["backbone"], int(match["count"])


def chain_title(chain: str) -> str:
    """Return how a chain is written in run names and tables: ``stl_n→stl_m→sstl_m``, ``none`` for no transfer."""
    steps = [step for step in chain.split("-") if step != "none"]
    return "→".join(steps) or "none"


CONFIG = AttentiveTransferConfig
