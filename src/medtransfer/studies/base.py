"""The contract between a study and the stages: what a study's modules hold, and how a fitted model is named."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

from medtransfer.paths import FitPaths
from medtransfer.studies.phases import Phase
from medtransfer.tracking.views import RunView
from medtransfer.training.engine import Engine
from medtransfer.training.fitting import Setting
from medtransfer.training.run import Plan


@dataclass(frozen=True, kw_only=True)
class FittedModel(FitPaths):
    """One fit whose network is predicted, scored and reported.

    Attributes:
        network: name of its structure; several variants may share one.
        dataset: the data set that the fit was trained and validated on.
        neg_pos_ratio: negatives per positive that its test rows are weighted to; None leaves them as they are.
    """

    network: str
    dataset: str
    neg_pos_ratio: float | None = None


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Which fits compete for one registered model, and by what.

    Attributes:
        model: name of the registered model.
        dataset: its validation rows decide.
        metric: a metric of ``evaluation``, the higher the better.
        fits: (variant, condition) of every competitor; all of their seeds compete.
    """

    model: str
    dataset: str
    metric: str
    fits: tuple[tuple[str, str], ...]


class StudyModule(Protocol):
    """``study.py``: what the study is and what there is to fit. It imports nothing heavy."""

    NAME: str
    PAPER: str
    PHASES: Mapping[str, Phase]
    """In the order of the chain."""

    def variants(self, config: Any, phase: str) -> tuple[str, ...]:
        """Return the variants of a phase: what one call of ``medtransfer fit`` trains."""

    def conditions(self, config: Any, phase: str, variant: str) -> tuple[str, ...]:
        """Return the conditions under which a variant is trained, each with every seed."""

    def datasets(self, config: Any) -> tuple[str, ...]:
        """Return the data sets that the study reads: no image of one may leak into a held-out split of another."""


class PhaseModule(Protocol):
    """A module that ``PHASES`` names."""

    def plan(self, config: Any, phase: str, variant: str, conditions: Sequence[str], setting: Setting) -> Plan:
        """Return the fits of a variant under some conditions, or the weights that are written without training."""


class PredictionsModule(Protocol):
    """``predictions.py``: the models whose predictions are the study's result."""

    def fitted(self, config: Any) -> Iterator[FittedModel]:
        """Yield every model that is predicted, scored and reported."""

    def predictions(self, config: Any, engine: Engine) -> Iterator[pd.DataFrame]:
        """Yield rows of the predictions table, fit by fit."""

    def comparison(self, config: Any) -> RunView:
        """Return the view of the tracker's pages that answers the study's question."""

    def contests(self, config: Any) -> tuple[Contest, ...]:
        """Return the registered models that the study makes, and who competes for each."""
