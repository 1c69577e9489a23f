"""The input of a study's report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import pandas as pd

from medtransfer.evaluation.cells import EvaluationConfig
from medtransfer.reporting.origin import Origin

ConfigT = TypeVar("ConfigT")


@dataclass(frozen=True, kw_only=True)
class ReportInput(Generic[ConfigT]):
    """Everything from which a report is computed.

    Attributes:
        folder: ``out/<study>``, with ``records/`` and the side files in ``results/``.
        predictions: the study's predictions table.
        origin: where the images come from.
        champions: content of champions.json: a list of ``model, alias, version, variant, condition, seed, metric,
            value, run_key``; empty when no model is registered.
        config: the study's parameters.
        evaluation: how scores become numbers.
        profile: name of the parameter profile.
    """

    folder: Path
    predictions: pd.DataFrame
    origin: Origin
    champions: Sequence[Mapping[str, Any]]
    config: ConfigT
    evaluation: EvaluationConfig
    profile: str

    @property
    def results(self) -> Path:
        """Folder of the side files."""
        return self.folder / "results"

    def parts(self) -> dict[str, Any]:
        """Return the parts ``origin``, ``phantoms`` and ``data`` of a report's content."""
        return self.origin.parts(self.profile)
