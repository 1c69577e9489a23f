"""Parameters of the truncated-transfer study. The paper's values are in profiles/paper-truncated.yaml."""

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, PositiveFloat, model_validator

from medtransfer.config import Config, Name
from medtransfer.data.regimes import RegimeConfig
from medtransfer.data.transforms import AugmentConfig
from medtransfer.models.networks import AnyNetwork, network_config
from medtransfer.models.slim import SlimConfig
from medtransfer.training.initialization import StartConfig
from medtransfer.training.optim import TrainConfig

Word = Annotated[Name, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Strategy = Literal["random", "transfer", "transfusion"]
Protocol = Literal["paper", "tuned"]
STRATEGIES: dict[str, Strategy] = {"random": "random", "transfer": "transfer", "transfusion": "transfusion"}


class Variant(NamedTuple):
    """A network and how it starts: from random weights, with all layers pretrained, or with the bottom pretrained."""

    network: str
    strategy: Strategy


class Condition(NamedTuple):
    """The task, data regime and protocol of a variant's training."""

    task: str
    regime: str
    protocol: Protocol

    @property
    def name(self) -> str:
        """For example ``covid-tenth-tuned``."""
        return "-".join(self)


class TaskConfig(Config):
    """One question about a data set: one class against the others, or several findings at once."""

    dataset: Name
    positive: str = ""
    findings: tuple[str, ...] = ()
    regimes: tuple[str, ...] = ()
    """Names of the regimes of the task; empty means all."""

    @model_validator(mode="after")
    def _one_kind(self) -> "TaskConfig":
        if bool(self.positive) == bool(self.findings):
            raise ValueError("a task has either a positive class or findings; give exactly one of them")
        return self


class PretrainPhase(Config):
    """Training of the whole networks that fine-tuning starts from."""

    dataset: Name
    dropout: float = Field(0.0, ge=0, lt=1)
    augment: AugmentConfig
    train: TrainConfig


class TuningConfig(Config):
    """The same trials for every variant: one per learning rate, on the same training data, compared on validation."""

    learning_rates: tuple[PositiveFloat, ...] = (1e-5, 1e-4, 1e-3)
    budget: float = Field(1.0, gt=0, le=1)
    """Length of a trial as a share of the fit's epochs or steps."""

    def trials(self, train: TrainConfig, rates: Sequence[float]) -> list[TrainConfig]:
        """Return the settings of every trial, one per learning rate."""
        length = {k: max(1, round(v * self.budget)) for k in ("epochs", "steps") if (v := getattr(train, k))}
        return [with_rate(train, rate).model_copy(update=length) for rate in rates]


class FitPhase(Config):
    """All settings of one fit of the study, as they are tracked."""

    dataset: Name
    task: TaskConfig
    regime: RegimeConfig
    class_weights: bool
    augment: AugmentConfig
    train: TrainConfig


class TruncatedTransferConfig(Config):
    """Variants × tasks × regimes × protocols × seeds of the study."""

    variants: tuple[Name, ...]
    """``<network>-<strategy>``, for example ``densenet121_t1-transfer``; names of networks: models/networks.py."""
    head: Literal["gap", "flatten"] = "gap"
    tasks: dict[Word, TaskConfig]
    regimes: dict[Word, RegimeConfig]
    protocols: tuple[Protocol, ...]
    """``paper``: ``train`` unchanged; ``tuned``: with the learning rate that won the trials of the same variant."""
    seeds: tuple[int, ...]
    start: dict[Name, StartConfig]
    """Source of the weights of each whole backbone."""
    pretrain: PretrainPhase | None = None
    """How backbones whose start is ``train`` are trained; without it all weights are ready-made."""
    augment: AugmentConfig
    class_weights: bool = False
    """Weight classes, or both values of each finding, by their frequency in the training images."""
    train: TrainConfig
    tuning: TuningConfig = TuningConfig()

    @model_validator(mode="after")
    def _names_fit(self) -> "TruncatedTransferConfig":
        if self.train.selection is None:
            raise ValueError("train needs a selection metric: weights and learning rates are chosen on validation rows")
        trained = [name for name, start in self.start.items() if start.kind == "train"]
        if trained and self.pretrain is None:
            raise ValueError(f"start of {trained[0]!r}: kind train needs the section pretrain; add it")
        unknown = [name for task in self.tasks.values() for name in task.regimes if name not in self.regimes]
        if unknown:
            raise ValueError(f"tasks: there is no regime {unknown[0]!r}; there are {', '.join(self.regimes)}")
        for condition in self.conditions():
            if self.tasks[condition.task].findings and self.regimes[condition.regime].neg_pos_ratio:
                raise ValueError(
                    f"regime {condition.regime!r}: task {condition.task!r} has several findings, and one ratio of "
                    "negatives to positives cannot hold for all of them; leave this regime out of the task's regimes"
                )
        for name in self.variants:
            strategy = self.variant(name).strategy
            slim, backbone = isinstance(self.structure(name), SlimConfig), self.backbone(name)
            if slim == (strategy == "transfer") and strategy != "random":
                raise ValueError(
                    f"variant {name!r}: transfusion is for slim networks (densenet121_s2), transfer for others"
                )
            if strategy != "random" and backbone not in self.start:
                raise ValueError(f"variant {name!r}: start has no weights for {backbone!r}; add them")
        return self

    def variant(self, name: str) -> Variant:
        """Return network and strategy of a variant, from its name.

        Raises:
            ValueError: the name does not end in a strategy.
        """
        network, _, strategy = name.rpartition("-")
        if not network or strategy not in STRATEGIES:
            raise ValueError(f"variant {name!r}: expected <network>-<strategy> with one of {', '.join(STRATEGIES)}")
        return Variant(network, STRATEGIES[strategy])

    def structure(self, name: str) -> AnyNetwork:
        """Return the network of a variant."""
        return network_config(self.variant(name).network, head=self.head, size=self.augment.crop)

    def backbone(self, name: str) -> str:
        """Return the whole network that a variant's network was cut from; its own name if it is not cut."""
        structure = self.structure(name)
        return getattr(structure, "backbone", structure.title)

    def conditions(self) -> list[Condition]:
        """Return the conditions under which every variant is trained."""
        return [Condition(t, r, p) for t in self.tasks for r in self.regimes_of(t) for p in self.protocols]

    def neg_pos_ratio(self, condition: Condition) -> float | None:
        """Return the negatives per positive that test images are weighted to; None if they are not weighted."""
        return self.regimes[condition.regime].neg_pos_ratio.get("test")

    def thins_validation(self, condition: Condition) -> bool:
        """Return whether a condition's regime leaves out validation images."""
        return "val" in self.regimes[condition.regime].neg_pos_ratio

    def regimes_of(self, task: str) -> tuple[str, ...]:
        """Return the names of the regimes of a task."""
        return self.tasks[task].regimes or tuple(self.regimes)


def with_rate(train: TrainConfig, rate: float) -> TrainConfig:
    """Return the settings with another learning rate."""
    optimizer = train.optimizer.model_copy(update={"lr": rate})
    return train.model_copy(update={"optimizer": optimizer})


CONFIG = TruncatedTransferConfig
