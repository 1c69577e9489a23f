"""Parameters of the visual-transfer study. The paper's values are in profiles/paper-visual.yaml."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from medtransfer.config import Config, Name
from medtransfer.data.keras import KerasAugmentConfig
from medtransfer.models.classifier import NetworkConfig
from medtransfer.models.networks import network_config
from medtransfer.models.structures import Structure
from medtransfer.models.visual import BenchmarkConfig, ConvolutionHeadConfig
from medtransfer.models.weights import FileInit, TimmInit
from medtransfer.studies.visual_transfer.study import TRIED
from medtransfer.training.initialization import RegistryInit
from medtransfer.training.optim import TrainConfig

Word = Annotated[Name, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Row = Literal[
    "", "benchmark_no_augmentation", "benchmark_cnn", "vgg16_imagenet", "densenet121_chexnet", "chexnet_all_layers"
]
Numbers = tuple[float] | tuple[float, float, float]


class AbsentInit(Config):
    """No weights are at hand: columns on this base say *not available*."""

    kind: Literal["absent"] = "absent"


StartConfig = Annotated[AbsentInit | TimmInit | FileInit | RegistryInit, Field(discriminator="kind")]


class BaseConfig(Config):
    """A pretrained network and where its weights come from.

    Attributes:
        network: by ``models/networks.py``.
        start: its weights: a file or the folder of an earlier stage, timm's hub, the registry, or none.
        knows: what it was pretrained on, in words, for tables.
        near: whether that is nearer the question's images than natural images are.
        dataset: the data set of this workspace that it was pretrained on, which the gate then compares; may be empty.
        mean: of its own normalisation, on 0–1 (W-4); not given for the folder of a fit, which says it itself.
        std: of the same.
    """

    network: Name
    start: StartConfig
    knows: str = Field(min_length=1)
    near: bool = False
    dataset: Name | Literal[""] = ""
    mean: Numbers | None = None
    std: Numbers | None = None

    @model_validator(mode="after")
    def _normalization(self) -> "BaseConfig":
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"base of {self.network!r}: give both mean and std, or neither")
        return self


class Budget(Config):
    """What a column trains with in place of the study's ``train``; what is not given is that of the study."""

    epochs: PositiveInt | None = None
    steps: PositiveInt | None = None
    validate_every: PositiveInt | None = None
    batch_size: PositiveInt | None = None
    lr: PositiveFloat | None = None
    frozen_norm: bool | None = None


class ColumnConfig(Config):
    """One column of the table: a network from scratch or on a base, and its augmentation.

    Attributes:
        base: the pretrained base; empty for the benchmark CNN from scratch.
        frozen: only a new convolution and the output above the base learn; else all layers, without the convolution.
        augmentation: name of its recipe.
        budget: its own training length.
        paper: the column of the paper's Table 1 that it stands for, if any.
    """

    base: Name | Literal[""] = ""
    frozen: bool = True
    augmentation: Word
    budget: Budget = Budget()
    paper: Row = ""


class MaximizedConfig(Config):
    """The images that units respond to most (Fig. 2 and 3): of which columns, how long, how many filters."""

    columns: tuple[Name, ...] = ()
    iterations: PositiveInt = 2048
    filters: PositiveInt = 10


class FitPhase(Config):
    """All settings of one fit, as they are tracked."""

    dataset: Name
    positive: str
    column: ColumnConfig
    augmentation: KerasAugmentConfig
    views: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: TrainConfig


class VisualTransferConfig(Config):
    """Columns and tried augmentations × seeds of the study.

    Attributes:
        dataset: chest X-rays, with lung masks of some.
        positive: the class that is told from all others.
        crop: side of the images in pixels.
        model: name of the registered model.
        seeds: of every fit.
        bases: pretrained networks by name.
        columns: what is compared.
        augmentations: recipes by name.
        tried: recipes that the benchmark CNN is trained with, each alone.
        tried_budget: training length of these.
        tried_seeds: their seeds; those of the columns if empty.
        views: augmented views of every image that a frozen base sees, in turn; without augmentation there is one.
        cache: keep what a frozen base makes of an image; the result is the same without.
        floor: the base whose frozen features are probed by logistic regression, if any.
        maximized: Fig. 2 and 3.
        train: training of every fit.
    """

    dataset: Name
    positive: str
    crop: PositiveInt
    model: Name = "covid-xray"
    seeds: tuple[int, ...] = Field(min_length=1)
    bases: dict[Name, BaseConfig]
    columns: dict[Name, ColumnConfig] = Field(min_length=1)
    augmentations: dict[Word, KerasAugmentConfig]
    tried: tuple[Word, ...] = ()
    tried_budget: Budget = Budget()
    tried_seeds: tuple[int, ...] = ()
    views: PositiveInt = 4
    cache: bool = True
    floor: Name | Literal[""] = ""
    maximized: MaximizedConfig = MaximizedConfig()
    train: TrainConfig

    @model_validator(mode="after")
    def _names_fit(self) -> "VisualTransferConfig":
        for name in (*self.columns, *(f"{TRIED}{one}" for one in self.tried)):
            column = self.column(name)
            if column.augmentation not in self.augmentations:
                raise ValueError(f"column {name!r}: augmentations has no {column.augmentation!r}; add it")
            if column.base and column.base not in self.bases:
                raise ValueError(f"column {name!r}: bases has no {column.base!r}; add it")
            self.train_of(name)
        if self.floor and self.floor not in self.bases:
            raise ValueError(f"floor: bases has no {self.floor!r}; add it")
        if unknown := [name for name in self.maximized.columns if name not in self.columns]:
            raise ValueError(f"maximized: there is no column {unknown[0]!r}; there are {', '.join(self.columns)}")
        if self.train.selection is None:
            raise ValueError("train needs a selection metric: weights are chosen on validation rows")
        return self

    @property
    def variants(self) -> tuple[str, ...]:
        """What is fitted: columns whose base is not declared absent, then the benchmark with each tried recipe."""
        columns = [name for name, one in self.columns.items() if not self._absent(one)]
        return (*columns, *(f"{TRIED}{name}" for name in self.tried))

    def column(self, variant: str) -> ColumnConfig:
        """Return a column, or the benchmark CNN with a tried recipe."""
        if variant in self.columns:
            return self.columns[variant]
        return ColumnConfig(augmentation=variant.removeprefix(TRIED), budget=self.tried_budget)

    def seeds_of(self, variant: str) -> tuple[int, ...]:
        """Return the seeds of a variant."""
        return self.seeds if variant in self.columns else self.tried_seeds or self.seeds

    def train_of(self, variant: str) -> TrainConfig:
        """Return the training of a variant."""
        own = self.column(variant).budget.model_dump(exclude_none=True)
        values = self.train.model_dump()
        if "lr" in own:
            values["optimizer"]["lr"] = own.pop("lr")
        if {"epochs", "steps"} & own.keys():
            values |= {"epochs": None, "steps": None}
        return TrainConfig.model_validate(values | own)

    def views_of(self, variant: str) -> int | None:
        """Return how many views of an image a variant's base sees; ``None`` where every epoch shows a new one."""
        column = self.column(variant)
        if not column.base or not column.frozen:
            return None
        return self.views if self.augmentations[column.augmentation].changes else 1

    def network(self, variant: str) -> Structure:
        """Return the network of a variant."""
        column = self.column(variant)
        if not column.base:
            return BenchmarkConfig(side=self.crop)
        whole = self.base_network(column.base)
        return ConvolutionHeadConfig(backbone=whole.backbone, cut=whole.cut) if column.frozen else whole

    def base_network(self, base: str) -> NetworkConfig:
        """Return the network of a base.

        Raises:
            ValueError: it is none of timm's.
        """
        name = self.bases[base].network
        network = network_config(name)
        if not isinstance(network, NetworkConfig):
            raise ValueError(f"base {base!r}: {name!r} is no network of timm; take one")
        return network

    def _absent(self, column: ColumnConfig) -> bool:
        return bool(column.base) and self.bases[column.base].start.kind == "absent"


CONFIG = VisualTransferConfig
