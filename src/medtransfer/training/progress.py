"""What a person sees while a fit runs: on a terminal a bar with rate and time left, else one line per validation."""

from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

console = Console(stderr=True, highlight=False)


class Bar:
    """Progress of one fit in steps.

    Args:
        title: of the fit.
        total: steps of the whole budget.
        start: steps already done.
        images: images per step, for the rate.
        metric: the validation metric shown beside the loss; without one the first AUROC.
        quiet: show nothing, as on every process but the main one.
    """

    def __init__(
        self, title: str, total: int, start: int, *, images: int, metric: str | None = None, quiet: bool = False
    ) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(images))
        hidden = quiet or not console.is_terminal
        self._bar = Progress(*columns, TimeRemainingColumn(), console=console, disable=hidden)
        self._task = self._bar.add_task(title, total=total, completed=start)
        self._title, self._total, self._metric, self._lines = title, total, metric, hidden and not quiet

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self) -> None:
        """Count one step."""
        self._bar.advance(self._task)

    def report(self, step: int, metrics: Mapping[str, float], rate: float) -> None:
        """Show the mean loss, one validation metric and the images per second of the period that ended."""
        metric = self._metric or next((name for name in metrics if "auroc" in name), "train/loss")
        values = " · ".join(f"{name} {metrics[name]:.3f}" for name in dict.fromkeys(("train/loss", metric)))
        self._bar.update(self._task, description=f"{self._title} · {values}")
        if self._lines:
            line = f"{self._title} · step {step} of {self._total} · {values} · {rate:.0f} images/s"
            console.print(line, soft_wrap=True, markup=False)


class _Rate(ProgressColumn):
    """Images per second over the last half minute."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self._images = images

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed * self._images:.0f} images/s" if task.speed else "")
