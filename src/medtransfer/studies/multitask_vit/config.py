"""Parameters of the multi-task ViT study."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from medtransfer.config import Config, Name
from medtransfer.data.transforms import AugmentConfig
from medtransfer.models.classifier import NetworkConfig
from medtransfer.models.multitask import MultitaskConfig
from medtransfer.models.networks import network_config
from medtransfer.models.tokens import TransformerConfig
from medtransfer.models.zones import CUTS, Cuts
from medtransfer.training.initialization import StartConfig
from medtransfer.training.optim import ConstantSchedule, ScheduleConfig, TrainConfig
from medtransfer.training.selection import SelectionConfig

TaskName = Literal["label", "zones"]


class VariantConfig(Config):
    """What is compared: a backbone, whether it is pretrained, what is above it, and what is learnt.

    Attributes:
        backbone: name of the backbone, by ``models/networks.py``; ``<timm name>_pcam`` with PCAM pooling.
        pretrained: start from the corpus phase; otherwise from random weights (the paper's *without pretraining*).
        transformer: without it the heads read the feature map.
        positions: without them the tokens have no order.
        tasks: ``label`` for the diagnosis, ``zones`` for the severity, or both.
    """

    backbone: Name = "densenet121_pcam"
    pretrained: bool = True
    transformer: bool = True
    positions: bool = True
    tasks: tuple[TaskName, ...] = Field(default=("label", "zones"), min_length=1)


class CorpusPhase(Config):
    """Training of a backbone on findings, as it is tracked."""

    dataset: Name
    findings: tuple[str, ...] = Field(min_length=1)
    """Outputs; those that the data set does not label are left out of the loss."""
    augment: AugmentConfig
    train: TrainConfig


class TaskData(Config):
    """Where a task's images come from, and how many of them are in a step."""

    dataset: Name
    batch_size: PositiveInt


class TaskPhase(Config):
    """What a loader of one task reads: its data set, and its own number of images in ``train``."""

    dataset: Name
    augment: AugmentConfig
    train: TrainConfig


class FinetunePhase(Config):
    """Training of a network, as it is tracked; ``train.batch_size`` counts the images of both tasks.

    Attributes:
        label: X-rays with a class.
        zones: X-rays with six zones and, where there are any, lung masks.
        severity_weight: of the loss of the zones; that of the classes has 1.
        severity_lr: learning rate of the map head.
        severity_schedule: its schedule.
        severity_selection: selects the weights of variants without a diagnosis; the others use ``train.selection``.
        augment: of both tasks; a flip exchanges the zones of both lungs.
        train: budget, optimiser and schedule of the shared layers.
    """

    label: TaskData
    zones: TaskData
    severity_weight: PositiveFloat = 5.0
    severity_lr: PositiveFloat
    severity_schedule: ScheduleConfig = ConstantSchedule()
    severity_selection: SelectionConfig = SelectionConfig(metric="val/mse_score", mode="min")
    augment: AugmentConfig
    train: TrainConfig

    def task(self, name: str) -> TaskPhase:
        """Return what the loader of a task reads."""
        chosen = self.label if name == "label" else self.zones
        train = self.train.model_copy(update={"batch_size": chosen.batch_size})
        return TaskPhase(dataset=chosen.dataset, augment=self.augment, train=train)

    @model_validator(mode="after")
    def _images_of_a_step(self) -> "FinetunePhase":
        images = self.label.batch_size + self.zones.batch_size
        if self.train.batch_size != images:
            raise ValueError(
                f"train.batch_size is {self.train.batch_size}, label and zones together have {images}; make it {images}"
            )
        if self.train.selection is None:
            raise ValueError("train needs a selection metric: weights are chosen on validation rows")
        return self


class MultitaskVitConfig(Config):
    """Variants × seeds of the study.

    Attributes:
        variants: by name.
        transformer: size of every variant's transformer.
        upsizing: channels of the map head's blocks but the last.
        cuts: where a lung's height is cut into zones.
        seeds: of the networks; a corpus backbone has one.
        start: source of each backbone's weights: ``train`` trains it here; or a file, an earlier stage, timm's
            hub or the registry.
        model: name of the registered model.
    """

    variants: dict[Name, VariantConfig] = Field(min_length=1)
    transformer: TransformerConfig = TransformerConfig()
    upsizing: tuple[PositiveInt, ...] = (256, 128, 64, 32)
    cuts: Cuts = CUTS
    seeds: tuple[int, ...] = Field(min_length=1)
    start: dict[Name, StartConfig]
    model: Name = "chest-multitask"
    corpus: CorpusPhase
    finetune: FinetunePhase

    @model_validator(mode="after")
    def _backbones_start(self) -> "MultitaskVitConfig":
        for name, chosen in self.variants.items():
            if chosen.pretrained and chosen.backbone not in self.start:
                raise ValueError(f"variant {name!r}: start has no weights for {chosen.backbone!r}; add them")
        return self

    def network(self, variant: str) -> MultitaskConfig:
        """Return the network of a variant."""
        chosen = self.variants[variant]
        corpus = network_config(chosen.backbone)
        if not isinstance(corpus, NetworkConfig):
            raise ValueError(f"variant {variant!r}: {chosen.backbone!r} is no network of timm; take one as a backbone")
        layers = self.transformer.layers if chosen.transformer else 0
        return MultitaskConfig(
            corpus=corpus,
            side=self.finetune.augment.crop,
            transformer=self.transformer.model_copy(update={"layers": layers, "positions": chosen.positions}),
            tasks=chosen.tasks,
            upsizing=self.upsizing,
            cuts=self.cuts,
        )


CONFIG = MultitaskVitConfig
