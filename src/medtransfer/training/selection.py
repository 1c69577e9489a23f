"""Which weights of a run are kept: chosen on validation rows only, by a named metric."""

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import PositiveInt

from medtransfer.config import Config
from medtransfer.errors import ConfigError

FitMetrics = dict[str, float | None]
"""The validation metrics of the weights that a fit selected; an undefined one is None."""


def finite(metrics: Mapping[str, float]) -> FitMetrics:
    """Return metrics fit for JSON, which knows no NaN: an undefined one is None."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


class SelectionConfig(Config):
    """Keep the weights with the best validation metric; among equal values those with the larger ``tie``."""

    metric: str = "val/auroc"
    mode: Literal["max", "min"] = "max"
    tie: str | None = None
    patience: PositiveInt | None = None
    """Validations without improvement before the run stops early."""

    def is_better(self, new: Mapping[str, float], old: Mapping[str, float] | None) -> bool:
        """Return whether ``new`` beats ``old``; an undefined (NaN) metric never does.

        Raises:
            ConfigError: a metric is not computed in this fit; the text names those that are.
        """
        value = self._value(new, self.metric)
        tie = self._value(new, self.tie) if self.tie else math.nan
        if math.isnan(value):
            return False
        if old is None:
            return True
        best = self._value(old, self.metric)
        if value != best or self.tie is None:
            return value > best if self.mode == "max" else value < best
        return tie > self._value(old, self.tie)

    @staticmethod
    def _value(metrics: Mapping[str, float], name: str) -> float:
        if name not in metrics:
            raise ConfigError(f"selection metric {name!r} is not computed here; there are {', '.join(sorted(metrics))}")
        return metrics[name]
