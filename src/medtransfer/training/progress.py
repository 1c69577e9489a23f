"""What a person sees while a fit runs: a bar with rate and time left on a terminal, one line a validation elsewhere."""

import sys
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

console = Console(stderr=True, highlight=False)


class Bar:
    """Progress of one fit in steps."""

    def __init__(self, title: str, total: int, start: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
        self._bar = Progress(*columns, TimeRemainingColumn(), console=console, disable=not sys.stderr.isatty())
        self._task = self._bar.add_task(title, total=total, completed=start, rate="")
        self.title = title

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def advance(self) -> None:
        """Count one step."""
        self._bar.advance(self._task)

    def report(self, step: int, metrics: Mapping[str, float], rate: float) -> None:
        """Show the newest figures: losses and validation metrics, and images per second."""
        shown = "  ".join(f"{k} {v:.3f}" for k, v in metrics.items() if k.startswith(("train/loss", "val/")))
        self._bar.update(self._task, rate=f"{rate:.0f} images/s")
        if self._bar.disable:
            console.print(f"{self.title} · step {step} · {rate:.0f} images/s · {shown}", soft_wrap=True)
