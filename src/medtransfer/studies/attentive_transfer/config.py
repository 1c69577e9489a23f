"""Parameters of the attentive-transfer study. The paper's values are in profiles/paper.yaml."""

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
from medtransfer.studies.attentive_transfer.titles import NETWORK, WARM_UP, backbone, inserted_layers, is_control
from medtransfer.training.initialization import StartConfig
from medtransfer.training.optim import TrainConfig

STEP_NAME = r"^[a-z][a-z0-9_]*$"


class AttentionDefaults(Config):
    """How inserted layers are built and placed; sites given for a network name override the counted placement."""

    placement: Literal["spread", "tail", "stacked"] = "spread"
    scale: bool = False
    gamma: float = Field(default=0.0, ge=0)
    """Start of γ, which scales what a layer adds to its map: with 0 a new layer is the identity."""
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
    """Where the lobes are in the lungs' box: made for axial slices, or the reference's table, which stacks them."""
    train: TrainConfig

    @property
    def wants_regions(self) -> bool:
        """Whether the method reads lobe regions; none are cut out when their loss has weight 0."""
        return isinstance(self.method, MultiScaleConfig) and self.method.alpha2 > 0

    @model_validator(mode="after")
    def _regions_are_described(self) -> "Recipe":
        if self.wants_regions and (self.region_size is None or self.region_augment is None):
            raise ValueError("a region loss (alpha2 above 0) needs region_size and region_augment; add both")
        return self


class SelfSupervisedPhase(Recipe):
    """The self-supervised phase: its recipe and its data set, which the recipes compared with it share."""

    dataset: Name
    probe_neighbours: PositiveInt = 20


class Warmed(Config):
    """Networks whose inserted layers are also trained alone, and the chains that this adds for them."""

    networks: tuple[Name, ...] = ()
    warm_up_after: tuple[Name, ...] = ()
    """Chains that the warm-up continues; each gives the chain ``<after>-warm_up``."""
    stl_m_after: tuple[Name, ...] = ()
    """Chains with a warm-up that STL-M continues."""
    sstl_m_after: tuple[Name, ...] = ()
    """Chains with a warm-up that SSTL-M continues."""


class AttentiveTransferConfig(Config):
    """Networks × chains × seeds of the study and its phases."""

    networks: tuple[Name, ...] = Field(min_length=1)
    """``<timm name>_attn<number of ATTN layers>``, for example ``resnet50_attn5``; ``<timm name>_conv<number>`` is its
    control: as many parameters in 1 × 1 convolutions at the same sites."""
    attention: AttentionDefaults = AttentionDefaults()
    chains: tuple[Name, ...]
    """``none``, or phases joined by ``-`` from a starting point: ``none-stl_m``, ``stl_n-stl_m-sstl_m``. Those with a
    ``warm_up`` are of the networks in ``warmed`` alone."""
    stl_m_after: tuple[Name, ...]
    """Chains that STL-M continues; each gives the chain ``<after>-stl_m``."""
    sstl_m_after: tuple[Name, ...]
    """Chains that SSTL-M, the paper's multi-scale method, continues."""
    methods: tuple[Name, ...] = ()
    """Recipes that replace SSTL-M, for comparison; each gives the chain ``<after>-<recipe>``."""
    methods_after: tuple[Name, ...] = ()
    """Chains that the compared methods continue."""
    warmed: Warmed = Warmed()
    seeds: tuple[int, ...] = Field(min_length=1)
    pretrain_seeds: tuple[int, ...] = Field(min_length=1)
    """Fine-tuning seed number i starts from pretraining seed number i modulo their count."""
    start: StartConfig
    """Source of the ``stl_n`` weights: trained here, or ready-made weights under the ATTN layers."""
    stl_n: SupervisedPhase
    warm_up: SupervisedPhase | None = None
    """Trains inserted layers and a new head alone; needed where a network is in ``warmed``."""
    stl_m: SupervisedPhase
    sstl_m: SelfSupervisedPhase
    recipes: dict[Annotated[Name, Field(pattern=STEP_NAME)], Recipe] = Field(default_factory=dict)
    """Recipes that can replace SSTL-M's, by their name in a chain: ``moco``, ``simclr``, …"""
    finetune: SupervisedPhase
    model: Name = "covid-ct"
    """Registered model that the best fine-tuned network becomes."""
    positive: str = "covid"
    outside: tuple[Name, ...] = ()
    """Data sets that no stage trains on; the fine-tuned networks are evaluated on them without adaptation."""

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
            raise ValueError(f"attention.sites: {unknown[0]!r} is not a network; there are {', '.join(self.networks)}")
        for name in self.networks:
            layers = inserted_layers(_known(name))
            sites = len(self.attention.sites.get(name, ()))
            if sites and sites != layers:
                raise ValueError(f"attention.sites of {name!r}: {sites} blocks, expected {layers} as its name says")
            if not sites and layers not in (0, 1, 5):
                raise ValueError(
                    f"network {name!r}: only 0, 1 or 5 layers have default places; list {layers} blocks under "
                    "attention.sites"
                )
        return self

    @model_validator(mode="after")
    def _warmed_networks_have_layers(self) -> "AttentiveTransferConfig":
        for name in self.warmed.networks:
            if name not in self.networks or not inserted_layers(name):
                known = ", ".join(filter(inserted_layers, self.networks)) or "none"
                raise ValueError(f"warmed.networks: {name!r} is no network with inserted layers; there are {known}")
        if self.warmed.networks and self.warm_up is None:
            raise ValueError(
                "warmed.networks: there is no section warm_up; add its data set, augmentation and training"
            )
        return self

    @model_validator(mode="after")
    def _chains_exist(self) -> "AttentiveTransferConfig":
        unknown = [name for name in self.methods if name not in self.recipes]
        if unknown:
            raise ValueError(
                f"methods: there is no recipe {unknown[0]!r}; there are {', '.join(self.recipes) or 'none'}"
            )
        existing = {"none", "stl_n"}
        supervised = dict.fromkeys(self.stl_m_after, ("stl_m",))
        compared = dict.fromkeys(self.methods_after, self.methods)
        warmed = self.warmed if self.warmed.networks else Warmed()
        for key, steps in (
            ("warmed.warm_up_after", dict.fromkeys(warmed.warm_up_after, (WARM_UP,))),
            ("stl_m_after", supervised),
            ("warmed.stl_m_after", dict.fromkeys(warmed.stl_m_after, ("stl_m",))),
            ("sstl_m_after", dict.fromkeys(self.sstl_m_after, ("sstl_m",))),
            ("warmed.sstl_m_after", dict.fromkeys(warmed.sstl_m_after, ("sstl_m",))),
            ("methods_after", compared),
        ):
            absent = [chain for chain in steps if chain not in existing]
            if absent:
                raise ValueError(f"{key}: no phase makes chain {absent[0]!r}; there are {', '.join(sorted(existing))}")
            existing |= {f"{chain}-{step}" for chain, names in steps.items() for step in names}
        absent = [chain for chain in self.chains if chain not in existing]
        if absent:
            raise ValueError(f"chains: no phase makes {absent[0]!r}; there are {', '.join(sorted(existing))}")
        return self

    def chains_of(self, network: str) -> tuple[str, ...]:
        """Return the chains after which a network is fine-tuned: those with a warm-up if it is warmed."""
        warmed = network in self.warmed.networks
        return tuple(chain for chain in self.chains if warmed or WARM_UP not in chain.split("-"))

    @property
    def compared(self) -> tuple[tuple[str, str], ...]:
        """Every network after every chain of its own."""
        return tuple((network, chain) for network in self.networks for chain in self.chains_of(network))

    def recipe(self, chain: str) -> SelfSupervisedPhase | None:
        """Return the self-supervised phase that a chain ends with; ``None`` when its last step learns from labels."""
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
            steps = ", ".join(("sstl_m", *self.recipes))
            raise ConfigError(f"chain {chain!r}: its last step is not self-supervised, expected one of {steps}")
        return recipe

    def network(self, name: str, dropout: float = 0.0) -> NetworkConfig:
        """Return the configuration of a network, from its name.

        Raises:
            ConfigError: the name does not end in ``_attn<number>`` or ``_conv<number>``.
        """
        layers = inserted_layers(_known(name))
        sites = self.attention.sites.get(name, ())
        attention = AttentionConfig(
            kind="convolution" if is_control(name) else "attention",
            count=0 if sites else layers,
            placement=self.attention.placement,
            sites=sites,
            scale=self.attention.scale,
            gamma=self.attention.gamma,
        )
        return NetworkConfig(backbone=backbone(name), attention=attention, dropout=dropout)


def _known(network: str) -> str:
    """Return the name of a network after checking its form."""
    if NETWORK.fullmatch(network) is None or (is_control(network) and not inserted_layers(network)):
        raise ConfigError(
            f"network {network!r}: expected <timm name>_attn<number>, for example resnet50_attn5, or its control, for "
            "example resnet50_conv5"
        )
    return network


def chain_title(chain: str) -> str:
    """Return how a chain is written in run names and tables: ``stl_n→stl_m→sstl_m``, ``none`` for no transfer."""
    steps = [step for step in chain.split("-") if step != "none"]
    return "→".join(steps) or "none"


CONFIG = AttentiveTransferConfig
