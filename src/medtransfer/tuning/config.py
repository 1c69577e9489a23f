"""A search as data: what a trial fits, what it is judged by, which keys of params.yaml it may set."""

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from medtransfer.config import Config, Name

Scalar = bool | int | float | str


class Dimension(Config):
    """The values that a search tries for one key.

    Attributes:
        kind: ``float`` (uniform), ``log`` (log-uniform), ``int`` or ``choice``.
        low: smallest value, included.
        high: largest value, included.
        step: distance of whole numbers.
        choices: the values of a ``choice``, of any type.
        when: earlier key of the space → the values under which this key is set at all.
    """

    kind: Literal["float", "log", "int", "choice"]
    low: float | None = None
    high: float | None = None
    step: PositiveInt = 1
    choices: tuple[Any, ...] = ()
    when: dict[str, tuple[Any, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_values(self) -> "Dimension":
        if self.kind == "choice":
            if len(self.choices) < 2 or self.low is not None or self.high is not None:
                raise ValueError("a choice needs at least two choices, and neither low nor high")
            return self
        if self.choices or self.low is None or self.high is None:
            raise ValueError(f"a dimension of kind {self.kind} needs low and high, and no choices")
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}; exchange them")
        if self.kind == "log" and self.low <= 0:
            raise ValueError(f"low {self.low:g} of a log dimension, expected a number above 0")
        if self.kind == "int" and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError("low and high of an int dimension are whole numbers")
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """The outermost values, or all choices: what must be valid for the whole dimension to be."""
        if self.kind == "choice":
            return self.choices
        return tuple(int(end) if self.kind == "int" else end for end in (self.low, self.high) if end is not None)


class SearchFit(Config):
    """One fit of a trial; ``all`` and an empty condition stand for the only one that the trial's parameters leave."""

    phase: Name
    variant: Name = "all"
    condition: Name | None = None


class Objective(Config):
    """A validation metric of the weights that the last fit selected, or what its network costs."""

    metric: str | None = Field(None, pattern="^val/.+")
    cost: Literal["multiply_adds", "step_seconds"] | None = None
    direction: Literal["maximize", "minimize"] = "maximize"

    @model_validator(mode="after")
    def _one_kind(self) -> "Objective":
        if (self.metric is None) == (self.cost is None):
            raise ValueError("an objective is a metric or a cost; give exactly one of them")
        if self.cost and self.direction == "maximize":
            raise ValueError("a cost is minimized; add direction: minimize")
        return self

    @property
    def name(self) -> str:
        """Of the metric or the cost."""
        return self.metric or self.cost or ""

    def better(self, value: float, than: float) -> bool:
        """Return whether one value is better than another."""
        return value > than if self.direction == "maximize" else value < than


class PruningConfig(Config):
    """When a trial is stopped early: by the validation metric of one phase, against that of earlier trials.

    With one objective below their median; with two when ``startup`` trials of no higher cost were better.
    """

    phase: Name
    metric: str = Field(pattern="^val/.+")
    direction: Literal["maximize", "minimize"] = "maximize"
    startup: PositiveInt = 4
    """Finished trials before any is stopped."""
    warmup: int = Field(1, ge=0)
    """Validations of a trial before it can be stopped."""


class BudgetConfig(Config):
    """When a search ends."""

    trials: PositiveInt
    """Of the whole search, finished or stopped early."""
    minutes: PositiveFloat | None = None
    """Of one command; then no new trial begins."""


class SearchConfig(Config):
    """A search, ``tuning.<name>`` in params.yaml."""

    study: Name
    fits: tuple[SearchFit, ...] = Field(min_length=1)
    """The fits of a trial, in order; each can start from the weights of those before it."""
    space: dict[str, Dimension] = Field(min_length=1)
    """Dotted key of params.yaml → the values tried."""
    fixed: dict[str, Any] = Field(default_factory=dict)
    """Dotted keys that all trials set; they are not adopted."""
    former: dict[str, Any] = Field(default_factory=dict)
    """Values of the space that ``confirm`` compares with, where they are not those of params.yaml."""
    objectives: tuple[Objective, ...] = Field(min_length=1, max_length=2)
    pruning: PruningConfig | None = None
    budget: BudgetConfig
    startup: PositiveInt = 5
    """Random trials before the sampler (TPE) learns from them."""
    seed: int = Field(0, ge=0)
    """Of the sampler, and of the fits of every trial."""
    memory_gb: PositiveFloat | None = None
    """Largest size in GiB of a worker's data; a trial that needs more fails."""

    @model_validator(mode="after")
    def _names_fit(self) -> "SearchConfig":
        keys = list(self.space)
        for number, (key, dimension) in enumerate(self.space.items()):
            for other in dimension.when:
                if other not in keys[:number]:
                    raise ValueError(f"space.{key}: when names {other!r}, which is no earlier key of the space")
        if twice := self.space.keys() & self.fixed.keys():
            raise ValueError(f"{min(twice)} is in space and in fixed; remove one")
        if unknown := self.former.keys() - self.space.keys():
            raise ValueError(f"former: {min(unknown)!r} is no key of the space")
        if self.objectives[0].metric is None:
            raise ValueError("the first objective is a metric; put the cost second")
        if self.pruning and self.pruning.phase not in {fit.phase for fit in self.fits}:
            raise ValueError(f"pruning: no fit of the search is of phase {self.pruning.phase!r}")
        return self
