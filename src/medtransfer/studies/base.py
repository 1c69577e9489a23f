"""The contract between a study and the stages: the contents of a study's modules, and how a fit is named."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from medtransfer.paths import FitPaths
from medtransfer.studies.phases import Phase
from medtransfer.tracking.views import RunView
from medtransfer.training.engine import Engine
from medtransfer.training.fitting import Setting
from medtransfer.training.run import Plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class FittedModel(FitPaths):
    """One fit whose network makes predictions that are scored and reported.

    Attributes:
        network: name of the architecture; several variants may share one.
        dataset: the data set on which the fit was trained and validated.
        neg_pos_ratio: negatives per positive to which its test rows are weighted; None leaves them unweighted.
    """

    network: str
    dataset: str
    neg_pos_ratio: float | None = None


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Which fits compete for one registered model, and by which metric.

    Attributes:
        model: name of the registered model.
        dataset: data set whose validation rows decide.
        metric: a metric of ``evaluation``, the higher the better.
        fits: (variant, condition) of every competitor; all their seeds compete.
    """

    model: str
    dataset: str
    metric: str
    fits: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Explained:
    """Networks whose heat maps are shown side by side and scored, and the images for it.

    Attributes:
        networks: title → fit; the first one decides which cases are shown as correct and which as failed.
        dataset: the data set whose test images are shown.
        positive: class or finding that the maps explain, an output of every network.
    """

    networks: Mapping[str, FitPaths]
    dataset: str
    positive: str


class StudyModule(Protocol):
    """``study.py``: what the study is and what it fits. It imports nothing heavy."""

    NAME: str
    PAPER: str
    PHASES: Mapping[str, Phase]
    """In the order of the chain."""

    def variants(self, config: Any, phase: str) -> tuple[str, ...]:
        """Return the variants of a phase; one call of ``medtransfer fit`` trains one of them."""

    def conditions(self, config: Any, phase: str, variant: str) -> tuple[str, ...]:
        """Return the conditions under which a variant is trained, each with every seed."""

    def datasets(self, config: Any) -> tuple[str, ...]:
        """Return the data sets that the study reads; none may share an image with a held-out split of another."""


class PhaseModule(Protocol):
    """A module that ``PHASES`` names."""

    def plan(self, config: Any, phase: str, variant: str, conditions: Sequence[str], setting: Setting) -> Plan:
        """Return the fits of a variant under some conditions, or how weights are written without training."""


class PredictionsModule(Protocol):
    """``predictions.py``: the models whose predictions are the study's result."""

    def fitted(self, config: Any) -> Iterator[FittedModel]:
        """Yield every model whose predictions are scored and reported."""

    def predictions(self, config: Any, engine: Engine) -> Iterator[pd.DataFrame]:
        """Yield rows of the predictions table, fit by fit."""

    def comparison(self, config: Any) -> RunView:
        """Return the view in the tracker's pages that answers the study's question."""

    def contests(self, config: Any) -> tuple[Contest, ...]:
        """Return the registered models of the study and the fits that compete for each."""


class ExplanationsModule(Protocol):
    """``explanations.py``: what the verb ``explain`` draws and scores."""

    def explained(self, config: Any) -> Explained:
        """Return the networks and images of the gallery and of the table of scores."""

    def explanations(self, config: Any, engine: Engine) -> tuple[dict[str, "Figure"], dict[str, Any]]:
        """Return panels of the study's own by name, and facts fit for JSON; a study without any leaves it out."""
