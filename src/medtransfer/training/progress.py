"""What a person sees while work goes on: bars on a terminal; elsewhere a line at least every 20 s."""

import math
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from itertools import takewhile
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

EVERY_S = 20.0
"""Longest silence while something is under way, in seconds."""
UNWATCHED = ("repro", "serve", "tune")
"""Stages of the command line that are not timed: processes of their own do the work, or it never ends."""
_RECENT_S = 120.0
"""Rate and time left are those of the last two minutes, so that slow steps have a rate too."""
_BRIEF_S = 1.0
"""A pass that is over sooner has no bar."""


class Screen(Console):
    """A console that knows when a line was last printed."""

    spoken = -math.inf

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does."""
        self.spoken = self.get_time()
        super().print(*objects, **options)

    @property
    def silent(self) -> float:
        """Seconds since the last line."""
        return self.get_time() - self.spoken


console = Screen(stderr=True, highlight=False)


class Bar:
    """Progress of one fit, or of one pass over images, in steps.

    Args:
        title: of the fit or the pass.
        total: steps of the whole budget.
        start: steps already done.
        images: images per step, for the rate.
        unit: what a step is called.
        metric: the validation metric shown beside the loss; without one the first AUROC.
        brief: leave nothing on a terminal, and show nothing of what is over in a second.
        quiet: show nothing, as on every process but the main one.
    """

    def __init__(
        self,
        title: str,
        total: int,
        start: int = 0,
        *,
        images: int,
        unit: str = "step",
        metric: str | None = None,
        brief: bool = False,
        quiet: bool = False,
    ) -> None:
        self._work = _Work(title, total, start, images, unit)
        self._title, self._total, self._metric = title, total, metric
        self._brief, self._quiet = brief, quiet

    def __enter__(self) -> "Bar":
        if not self._quiet:
            display().open(self._work, shown=not self._brief)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._quiet:
            display().close(self._work, leave=not self._brief)

    def advance(self) -> None:
        """Count one step."""
        if not self._quiet:
            display().advance(self._work)

    def report(self, step: int, metrics: Mapping[str, float], rate: float) -> None:
        """Show the mean loss, one validation metric and the images per second of the period that ended."""
        if self._quiet:
            return
        metric = self._metric or next((name for name in metrics if "auroc" in name), "train/loss")
        values = " · ".join(f"{name} {metrics[name]:.3f}" for name in dict.fromkeys(("train/loss", metric)))
        line = f"{self._title} · step {step} of {self._total} · {values} · {rate:.0f} images/s"
        display().report(self._work, values, line)


def over(title: str, total: int, *, images: int, quiet: bool = False) -> Bar:
    """Return the bar of one pass over images in ``total`` batches."""
    return Bar(title, total, images=images, unit="batch", brief=True, quiet=quiet)


def verb(stage: str, words: Sequence[str]) -> AbstractContextManager[None]:
    """Return ``working`` for a verb of the command line, named by its words before the first option."""
    title = " ".join(takewhile(lambda word: not word.startswith("-"), words[:4]))
    return nullcontext() if stage in UNWATCHED else working(title)


@contextmanager
def working(title: str) -> Iterator[None]:
    """Say after every 20 s of silence that something is under way whose steps are not counted.

    Processes of a distributed run beside the main one say nothing.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    work = _Work(title)
    display().open(work, shown=False)
    try:
        yield
    finally:
        display().close(work)


class _Work:
    """One thing under way; ``total`` is 0 where its steps are not counted."""

    def __init__(self, title: str, total: int = 0, start: int = 0, images: int = 0, unit: str = "step") -> None:
        self.title, self.total, self.start, self.images, self.unit = title, total, start, images, unit
        self.task: Task

    def __str__(self) -> str:
        return f"{self.title} · {self.unit} {self.task.completed:.0f} of {self.total}"


class Display:
    """Everything under way in this process, the innermost last.

    A thread looks at it, so that one long step is no silence either. What it prints is counted on the host; a GPU is
    never waited for.
    """

    def __init__(self, screen: Screen) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
        self._screen = screen
        self._bars = Progress(*columns, console=screen, disable=not screen.is_terminal, speed_estimate_period=_RECENT_S)
        self._open: list[_Work] = []
        self._lock = threading.RLock()
        self._over = threading.Event()

    def open(self, work: _Work, *, shown: bool) -> None:
        """Begin to show it: on a terminal at once, or as soon as a step ends after a second."""
        with self._lock:
            number = self._bars.add_task(
                work.title, total=work.total or None, completed=work.start, visible=shown, images=work.images
            )
            work.task = next(task for task in self._bars.tasks if task.id == number)
            if not self._open:
                self._screen.spoken = self._screen.get_time()
                self._over = threading.Event()
                self._thread = threading.Thread(target=self._watch, args=(self._over,), name="progress", daemon=True)
                self._thread.start()
            self._open.append(work)
            if shown:
                self._bars.start()

    def close(self, work: _Work, *, leave: bool = False) -> None:
        """End to show it, on a terminal with or without its last state."""
        with self._lock:
            self._open.remove(work)
            if not leave:
                self._bars.remove_task(work.task.id)
            if self._bars.live.is_started and not any(other.task.visible for other in self._open):
                self._bars.stop()
            if leave:
                self._bars.remove_task(work.task.id)
            if self._open:
                return
            self._over.set()
            thread = self._thread
        thread.join()  # without the lock, which it may be waiting for

    def advance(self, work: _Work) -> None:
        """Count one step."""
        self._bars.advance(work.task.id)
        if not work.task.visible and (work.task.elapsed or 0) > _BRIEF_S:
            self._bars.update(work.task.id, visible=True)
            self._bars.start()

    def report(self, work: _Work, values: str, line: str) -> None:
        """Show values beside the bar, or the line."""
        self._bars.update(work.task.id, description=f"{work.title} · {values}")
        if not self._screen.is_terminal:
            self._screen.print(line, soft_wrap=True, markup=False)

    def beat(self) -> None:
        """Print where things are, after a silence of 20 s and where no bar shows it."""
        with self._lock:
            shown = self._bars.live.is_started
            if self._open and not shown and self._screen.silent >= EVERY_S:
                self._screen.print(self._line(), soft_wrap=True, markup=False)

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(min(max(EVERY_S - self._screen.silent, EVERY_S / 20), EVERY_S)):
            self.beat()

    def _line(self) -> str:
        counted = [work for work in self._open if work.total]
        if not counted:
            return f"{self._open[-1].title} · {_minutes(self._open[-1].task.elapsed or 0)} so far"
        task = counted[-1].task
        parts = [str(work) for work in counted]
        if task.speed:
            left = [f"{_minutes(task.time_remaining)} left"] if task.time_remaining is not None else []
            parts += [_rate(task), *left]
        return " · ".join(parts)


@cache
def display() -> Display:
    """Return the one display of this process."""
    return Display(console)


class _Rate(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        return Text(_rate(task) if task.speed else "")


def _rate(task: Task) -> str:
    return f"{task.speed * task.fields['images']:.0f} images/s" if task.speed else ""


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
