"""Parameters of the multi-task ViT study."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from medtransfer.config import Config, Name
from medtransfer.data.transforms import AugmentConfig
from medtransfer.models.classifier import NetworkConfig
from medtransfer.models.multitask import MultitaskConfig
from medtransfer.models.networks import network_config
from medtransfer.models.segmenters import require_segmenter
from medtransfer.models.tokens import TransformerConfig
from medtransfer.models.weights import TrainInit
from medtransfer.models.zones import CUTS, Cuts
from medtransfer.training.initialization import StartConfig
from medtransfer.training.optim import ConstantSchedule, ScheduleConfig, TrainConfig
from medtransfer.training.selection import SelectionConfig

TaskName = Literal["label", "zones"]


class BackboneConfig(Config):
    """A network and what it knows before it is fine-tuned.

    Attributes:
        network: by the names of ``models/networks.py``; ``<timm name>_pcam`` with PCAM pooling.
        start: its first weights: random (``train``), or from a file, an earlier stage, timm's hub or the registry.
        findings: train it on the findings of the corpus phase, from these weights on.
    """

    network: Name
    start: StartConfig = TrainInit()
    findings: bool = True

    @model_validator(mode="after")
    def _knows_something(self) -> "BackboneConfig":
        if self.start.kind == "train" and not self.findings:
            raise ValueError(
                f"{self.network}: random weights without findings know nothing; set pretrained: false in the variant"
            )
        return self


class VariantConfig(Config):
    """What is compared: a backbone, whether it is pretrained, what is above it, and what is learnt.

    Attributes:
        backbone: a key of ``backbones``.
        pretrained: start from the backbone's weights; otherwise random ones (the paper's *without pretraining*).
        transformer: without it the heads read the feature map.
        positions: without them the tokens have no order.
        masks: lung masks from ``files``, else of the segmenter of ``finetune``; with ``none`` the whole image is lung.
        tasks: ``label`` for the diagnosis, ``zones`` for the severity, or both.
    """

    backbone: Name = "corpus"
    pretrained: bool = True
    transformer: bool = True
    positions: bool = True
    masks: Literal["files", "none"] = "files"
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
        segmenter: finds the lungs of X-rays without a mask file, a name of ``models/segmenters.py``; without one their
            whole image counts as lung.
        severity_weight: of the loss of the zones; that of the classes has 1.
        severity_lr: learning rate of the map head.
        severity_schedule: its schedule.
        severity_selection: selects the weights of variants without a diagnosis; the others use ``train.selection``.
        augment: of both tasks; a flip exchanges the zones of both lungs.
        train: budget, optimiser and schedule of the shared layers.
    """

    label: TaskData
    zones: TaskData
    segmenter: str = ""
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

    @field_validator("segmenter")
    @classmethod
    def _known_segmenter(cls, name: str) -> str:
        return require_segmenter(name)

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


class HospitalsConfig(Config):
    """Hospitals that are held out in turn, as in the paper: training and validation see none of their images.

    Attributes:
        held_out: name → the manifest's ``source``.
        variants: which are trained without each of them; all of these grade zones.
        least_images: with fewer scored images a hospital is listed and has no number.
    """

    held_out: dict[Name, str] = Field(default_factory=dict)
    variants: tuple[Name, ...] = ()
    least_images: PositiveInt = 10


class FloorsConfig(Config):
    """Predictors that need no training of a network; which all others have to beat.

    Attributes:
        frozen: a backbone whose ready-made features a linear model reads; none where empty.
        thumbnail: side in pixels of the images that another linear model reads.
    """

    frozen: str = ""
    thumbnail: PositiveInt = 32


class MultitaskVitConfig(Config):
    """Variants × seeds of the study.

    Attributes:
        backbones: by name.
        variants: by name.
        transformer: size of every variant's transformer.
        upsizing: channels of the map head's blocks but the last.
        cuts: where a lung's height is cut into zones.
        seeds: of the networks; a corpus backbone has one.
        hospitals: held out in turn, for the severity.
        floors: what needs no training, as a yardstick.
        model: name of the registered model.
    """

    backbones: dict[Name, BackboneConfig]
    variants: dict[Name, VariantConfig] = Field(min_length=1)
    transformer: TransformerConfig = TransformerConfig()
    upsizing: tuple[PositiveInt, ...] = (256, 128, 64, 32)
    cuts: Cuts = CUTS
    seeds: tuple[int, ...] = Field(min_length=1)
    hospitals: HospitalsConfig = HospitalsConfig()
    floors: FloorsConfig = FloorsConfig()
    model: Name = "chest-multitask"
    corpus: CorpusPhase
    finetune: FinetunePhase

    @model_validator(mode="after")
    def _names_are_known(self) -> "MultitaskVitConfig":
        for name, chosen in self.variants.items():
            if chosen.backbone not in self.backbones:
                raise ValueError(f"variant {name!r}: there is no backbone {chosen.backbone!r}; add it to backbones")
        ready = [name for name, backbone in self.backbones.items() if backbone.start.kind != "train"]
        if self.floors.frozen and self.floors.frozen not in ready:
            raise ValueError(f"floors.frozen: {self.floors.frozen!r} is no backbone with ready-made weights; take one")
        for name in self.hospitals.variants:
            if "zones" not in (self.variants[name].tasks if name in self.variants else ()):
                raise ValueError(f"hospitals.variants: {name!r} is no variant with the task zones; take another one")
        return self

    @property
    def main(self) -> str:
        """The variant that is the paper's model: both tasks and every part; else the first variant."""
        whole = [name for name, one in self.variants.items() if len(set(one.tasks)) == 2 and not self.lacks(name)]
        return (whole or list(self.variants))[0]

    def lacks(self, variant: str) -> frozenset[str]:
        """Return which parts of the paper's model a variant lacks; nothing for the model itself."""
        chosen = self.variants[variant]
        backbone = self.backbones[chosen.backbone]
        has = {
            "pretrained": chosen.pretrained and backbone.findings,
            "pcam": backbone.network.endswith("_pcam"),
            "transformer": chosen.transformer,
            "positions": chosen.positions,
            "masks": chosen.masks == "files",
        }
        return frozenset(part for part, there in has.items() if not there)

    def network(self, variant: str) -> MultitaskConfig:
        """Return the network of a variant."""
        chosen = self.variants[variant]
        corpus = network_config(self.backbones[chosen.backbone].network)
        if not isinstance(corpus, NetworkConfig):
            raise ValueError(f"variant {variant!r}: {corpus.title!r} is no network of timm; take one as a backbone")
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
