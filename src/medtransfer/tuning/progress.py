"""What a person sees of a running search: on a terminal a table, else one line per trial that ends, and after 20 s."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from rich.live import Live
from rich.table import Table as RichTable

from medtransfer.training.progress import EVERY_S, console
from medtransfer.tuning.space import decode
from medtransfer.tuning.study import REACHED, SURPLUS, counted
from medtransfer.tuning.trial import Search

ROWS = 12
"""Trials shown on a terminal: the latest."""


class Table:
    """Progress of a search; ``show`` is called again and again.

    Args:
        search: the search.
        workers: processes on this machine, for the time left.
    """

    def __init__(self, search: Search, workers: int) -> None:
        self._search, self._workers, self._begun = search, workers, time.monotonic()
        self._live = Live(console=console, refresh_per_second=2) if console.is_terminal else None
        self._shown: set[int] = set()

    def __enter__(self) -> "Table":
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, trials: Sequence[FrozenTrial]) -> None:
        """Show the state of all trials."""
        trials = [trial for trial in trials if not trial.user_attrs.get(SURPLUS)]
        if self._live:
            self._live.update(self._table(trials))
            return
        for trial in trials:
            if trial.state.is_finished() and trial.number not in self._shown:
                self._shown.add(trial.number)
                line = " · ".join((f"trial {trial.number}", *self._cells(trial)))
                console.print(f"{self._search.name} · {line} · {self.summary(trials)}", markup=False, soft_wrap=True)
        if console.silent >= EVERY_S:
            console.print(f"{self._search.name} · {self.summary(trials)}", markup=False, soft_wrap=True)

    def summary(self, trials: Sequence[FrozenTrial]) -> str:
        """Return how many trials are done, the best, how many were stopped or failed, and the time left."""
        of = {state: [trial for trial in trials if trial.state == state] for state in TrialState}
        done = [trial for trial in counted(trials) if trial.state.is_finished()]
        budget = self._search.config.budget.trials
        text = f"{len(done)} of {budget} trials, {len(of[TrialState.PRUNED])} pruned, {len(of[TrialState.FAIL])} failed"
        if best := self._best(of[TrialState.COMPLETE]):
            text += f", best {best}"
        return text + f", {self._left(done, budget)}"

    def _best(self, complete: Sequence[FrozenTrial]) -> str:
        first = self._search.config.objectives[0]
        values = [(trial.values[0], trial.number) for trial in complete]
        if not values:
            return ""
        chosen = max if first.direction == "maximize" else min
        value, number = chosen(values, key=lambda pair: pair[0])
        return f"{first.name} {value:.4f} (trial {number})"

    def _left(self, done: Sequence[FrozenTrial], budget: int) -> str:
        seconds = [trial.user_attrs.get(REACHED, {}).get("seconds", 0.0) for trial in done]
        limit = self._search.config.budget.minutes
        left = [60 * limit - (time.monotonic() - self._begun)] if limit else []
        if seconds:
            left.append(sum(seconds) / len(seconds) * (budget - len(done)) / self._workers)
        return f"about {max(0.0, min(left)) / 60:.1f} min left" if left else "time left not known yet"

    def _table(self, trials: Sequence[FrozenTrial]) -> RichTable:
        names = [objective.name for objective in self._search.config.objectives]
        table = RichTable("trial", "state", *names, "values", caption=self.summary(trials), expand=True)
        for trial in trials[-ROWS:]:
            state, *rest = self._cells(trial)
            values = [f"{value:.4g}" for value in trial.values or ()] or ["—"] * len(names)
            table.add_row(str(trial.number), state, *values, rest[-1])
        return table

    def _cells(self, trial: FrozenTrial) -> tuple[str, ...]:
        """Return state, objectives and values of a trial in words."""
        values = decode(self._search.config.space, trial.params)
        short = ", ".join(f"{key.rpartition('.')[2]} {_short(value)}" for key, value in values.items())
        reached = [
            f"{objective.name} {value:.4g}"
            for objective, value in zip(self._search.config.objectives, trial.values or (), strict=False)
        ]
        reason = trial.user_attrs.get(REACHED, {}).get("reason", "")
        state = trial.state.name.lower() + (f" ({reason})" if reason else "")
        return state, *(reached if trial.state == TrialState.COMPLETE else ()), short


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
