"""``medtransfer repro``: ``dvc repro`` that says *stage k of n*; the pipeline and its outputs are the same."""

import logging
from argparse import Namespace
from collections.abc import Callable, Sequence

from medtransfer.errors import ConfigError
from medtransfer.preloaded import preloading

LOGGERS = ("dvc.stage", "dvc.stage.run", "dvc.stage.cache")
"""Where DVC says that it runs a stage, skips it, or takes its outputs from the cache."""
BEGINNINGS = ("Running stage '%s'", "Stage '%s'", "'%s'")


class Counter(logging.Filter):
    """Puts the stage's number before what DVC says of it.

    Args:
        stages: their names in the order in which DVC takes them.
        running: is called whenever a stage is about to run.
    """

    def __init__(self, stages: Sequence[str], running: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.running = running
        self.numbers = {name: number for number, name in enumerate(stages, 1)}

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, changed where it begins with a stage that is counted."""
        name = record.args[0] if isinstance(record.args, tuple) and record.args else ""
        if name in self.numbers and str(record.msg).startswith(BEGINNINGS):
            if str(record.msg).startswith(BEGINNINGS[0]):
                self.running()
            record.msg = f"stage {self.numbers[str(name)]} of {len(self.numbers)} · {record.msg}"
        return True


def run(options: Namespace) -> None:
    """Reproduce the targets, or the whole pipeline.

    Raises:
        ConfigError: a stage failed; DVC and the stage have said why.
    """
    from dvc.cli import main

    with preloading() as parent:
        counter = Counter(planned(options.targets), *([parent.start] if parent else []))
        for name in LOGGERS:
            logging.getLogger(name).addFilter(counter)
        try:
            code = main(["repro", *options.targets])
        finally:
            for name in LOGGERS:
                logging.getLogger(name).removeFilter(counter)
    if code:
        raise ConfigError("repro: stopped; the lines above say where and why; the same command goes on from there")


def planned(targets: Sequence[str]) -> list[str]:
    """Return the names of the stages that DVC looks at, in its order; none where it will refuse the targets."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    try:
        with Repo() as repo:
            stages = collect_stages(repo, targets or ["dvc.yaml"])
            return [stage.addressing for stage in plan_repro(get_active_graph(repo.index.graph), stages)]
    except DvcException:
        return []  # main says what is wrong
