"""Stopping a trial early: Optuna's median with one objective, dominance with two."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import TrialState

from medtransfer.tuning.config import SearchConfig
from medtransfer.tuning.study import REACHED

Watched = list[float]
"""The watched metric at each validation so far."""


class Stopped(Exception):  # noqa: N818  # not an error: the trial is good enough to know that it will not win
    """A trial ends early; the text is the reason."""


class Watch:
    """Sees every validation of a trial and stops it when earlier trials were better at the same moment.

    Args:
        trial: Optuna's trial.
        search: says what is watched.
        cost: of the trial's network, None where cost is no objective.
    """

    def __init__(self, trial: Any, search: SearchConfig) -> None:
        self.watched: Watched = []
        self.cost: float | None = None
        self._trial, self._search = trial, search

    def observe(self, phase: str, metrics: Mapping[str, float]) -> None:
        """See the metrics of one validation.

        Raises:
            Stopped: the trial is not worth its time.
        """
        rule = self._search.pruning
        if rule is None or phase != rule.phase or rule.metric not in metrics:
            return
        value = float(metrics[rule.metric])
        self.watched.append(value)
        if math.isnan(value):
            raise Stopped(f"{rule.metric} is not a number at validation {len(self.watched)}")
        if len(self._search.objectives) > 1:
            self._stop_if_dominated(value)
            return
        sign = 1 if rule.direction == self._search.objectives[0].direction else -1
        self._trial.report(sign * value, len(self.watched) - 1)
        if self._trial.should_prune():
            raise Stopped(f"{rule.metric} {value:.4f} is behind the median at validation {len(self.watched)}")

    def _stop_if_dominated(self, value: float) -> None:
        rule, at = self._search.pruning, len(self.watched) - 1
        if rule is None or at < rule.warmup:
            return
        ended = self._trial.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE, TrialState.PRUNED])
        others = [trial.user_attrs.get(REACHED, {}) for trial in ended]
        better = sum(dominates(other, at, value, self.cost, maximize=rule.direction == "maximize") for other in others)
        if better >= rule.startup:
            raise Stopped(
                f"{better} trials of no higher cost had a better {rule.metric} than {value:.4f} at validation {at + 1}"
            )


def dominates(other: Mapping[str, Any], at: int, value: float, cost: float | None, *, maximize: bool) -> bool:
    """Return whether a trial cost no more and was better at one validation."""
    watched: Sequence[float] = other.get("watched", ())
    if at >= len(watched) or (cost is not None and other.get("cost") is not None and other["cost"] > cost):
        return False
    return watched[at] > value if maximize else watched[at] < value
