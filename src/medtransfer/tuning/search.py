"""A whole search on this machine: one run in the tracker, worker processes, a table of progress, the result."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from medtransfer import paths, studies
from medtransfer.data.packed import PackedDataset
from medtransfer.errors import ConfigError, TrainingError
from medtransfer.params import Params
from medtransfer.tracking.journal import EVENTS, read_events
from medtransfer.tracking.mlflow_tracker import close_run, open_run
from medtransfer.tracking.shipping import NOTE
from medtransfer.tracking.tracker import RunSpec, Tracker
from medtransfer.training.progress import console
from medtransfer.tuning.collect import collect
from medtransfer.tuning.figures import drawings
from medtransfer.tuning.progress import Table
from medtransfer.tuning.results import SearchResult, front, write_result
from medtransfer.tuning.space import base_of, space_hash
from medtransfer.tuning.storage import folder, open_storage, patient, where
from medtransfer.tuning.study import RUN_KEY, open_study, reclaim, trial_folder
from medtransfer.tuning.trial import RECORDS, Search

POLL_SECONDS = 1.0
SHIP_SECONDS = 20.0
"""How long trials wait for the search's own run to reach the tracker; without it they are not shown below it."""


def shared(
    search: str, params: Params, tree: Mapping[str, Any], code: str
) -> tuple[Search, dict[str, Any], dict[str, str]]:
    """Return a search, the parameters that its trials share, and the content hashes of its study's data sets."""
    config = params.search(search)
    names = studies.module(config.study, "study").datasets(params.study(config.study))
    data = {name: PackedDataset.open(paths.dataset(name)).meta.content_hash for name in names}
    base = base_of(tree, config)
    identity = space_hash(config, base, data)
    return Search(name=search, config=config, tree=tree, space_hash=identity, code=code), base, data


@dataclass
class Command:
    """How worker processes are started: the words of the command, and the threads of each."""

    words: Sequence[str]
    threads: int

    def start(self, worker: int) -> subprocess.Popen[bytes]:
        """Start one worker; its messages go to a file of its own."""
        threads = {"OMP_NUM_THREADS": str(self.threads)}
        command = [sys.executable, "-m", "medtransfer", *self.words, "--worker", str(worker)]
        with self.log(worker).open("w") as log:
            return subprocess.Popen(command, env=os.environ | threads, stderr=log)

    def log(self, worker: int) -> Path:
        """Return the file of a worker's messages."""
        return folder(self.words[1]) / f"worker{worker:d}.log"

    def last_words(self, worker: int) -> str:
        """Return the last message of a worker: the one line of its error."""
        lines = self.log(worker).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1].removeprefix("medtransfer: ") if lines else "it printed nothing"


def run_search(
    search: Search, params: Params, base: dict[str, Any], data: dict[str, str], *, address: str | None, workers: int
) -> SearchResult:
    """Run a search, or go on with it, and write its result.

    Raises:
        ConfigError: another process runs this search here, or the storage has another space under its name.
        TrackingError: the storage is down for too long.
    """
    at, home = where(search.name, address), folder(search.name)
    home.mkdir(parents=True, exist_ok=True)
    with _alone(search.name):
        storage = patient(lambda: open_storage(search.name, address), at=at)
        study = patient(lambda: open_study(search.name, search.config, search.space_hash, storage, address, 0), at=at)
        patient(lambda: _end_the_dead(study, search.name, everything=address is None), at=at)
        with open_run(_run_spec(search, params), home / RECORDS) as tracker:
            key = read_events(home / RECORDS / EVENTS)[0][0].body["run_key"]
            _wait_for_run(home)
            if RUN_KEY not in study.user_attrs:
                patient(lambda: study.set_user_attr(RUN_KEY, key), at=at)
            words = ["tune", search.name, *(["--storage", address] if address else [])]
            if minutes := search.config.budget.minutes:
                words += ["--until", str(time.time() + 60 * minutes)]
            command = Command(words, threads=max(1, len(os.sched_getaffinity(0)) // workers))
            _work(search, study, command, workers, at)
            result = patient(lambda: collect(search, study, params.profile, base, data), at=at)
            write_result(result)
            if result.run_key == key:
                _show(result, tracker)
    return result


@contextmanager
def _alone(name: str) -> Iterator[None]:
    lock = FileLock(folder(name) / "tune.lock", timeout=0)
    try:
        with lock:
            yield
    except Timeout as error:
        raise ConfigError(f"tuning.{name}: another process runs this search here; wait for it, or end it") from error


def _end_the_dead(study: Any, name: str, *, everything: bool) -> list[int]:
    ended = reclaim(study, name, everything=everything)
    for number in ended:
        console.print(f"trial {number}: its process is gone; see the table of trials", markup=False)
        records = trial_folder(name, number) / RECORDS
        close_run(records, "KILLED", {"state": "fail", "reason": "its process ended"})
    return ended


def _wait_for_run(home: Any) -> None:
    deadline = time.monotonic() + SHIP_SECONDS
    while not (home / RECORDS / NOTE).exists() and time.monotonic() < deadline:
        time.sleep(0.1)


def _work(search: Search, study: Any, command: Command, workers: int, at: str) -> None:
    """Keep the workers running until they end; one that is killed is replaced once, its trial is run again."""
    children = {number: command.start(number) for number in range(1, workers + 1)}
    spare, failed = workers, ""
    try:
        with Table(search, workers) as table:
            while children:
                time.sleep(POLL_SECONDS)
                for number, child in list(children.items()):
                    if child.poll() is None:
                        continue
                    del children[number]
                    if child.returncode == 0:
                        continue
                    patient(lambda: _end_the_dead(study, search.name, everything=False), at=at)
                    if child.returncode > 0:
                        failed = failed or command.last_words(number)
                    elif spare:
                        spare -= 1
                        new = max([number, *children]) + workers
                        children[new] = command.start(new)
                table.show(patient(lambda: study.get_trials(deepcopy=False), at=at))
    finally:
        for child in children.values():
            child.terminate()
            child.wait()
        if children:
            patient(lambda: _end_the_dead(study, search.name, everything=False), at=at)
    if failed:
        raise TrainingError(failed)


def _run_spec(search: Search, params: Params) -> RunSpec:
    return RunSpec(
        experiment=search.config.study,
        name=f"search {search.name} · {', '.join(key.rpartition('.')[2] for key in search.config.space)}",
        tags={
            "study": search.config.study,
            "phase": "search",
            "search": search.name,
            "profile": params.profile,
            "params_fingerprint": search.space_hash,
        },
        params={"tuning": search.config.model_dump(mode="json", exclude={"budget"}, exclude_defaults=True)},
    )


def _show(result: SearchResult, tracker: Tracker) -> None:
    """Show the figures of the page and the best trial at the search's run."""
    from matplotlib.figure import Figure

    states = [trial.state for trial in result.trials]
    tags = {f"trials_{state.lower()}": str(states.count(state)) for state in ("COMPLETE", "PRUNED", "FAIL")}
    if (best := result.best()) is not None:
        names = zip(result.config.objectives, best.objectives, strict=True)
        tags |= {"best_trial": str(best.number)} | {f"best/{o.name}": f"{value:.6g}" for o, value in names}
        tags |= {f"best/{key}": str(value) for key, value in best.values.items()}
    if len(result.config.objectives) > 1:
        tags["front"] = ", ".join(str(trial.number) for trial in front(result.complete, result.config.objectives))
    tracker.tags(tags)
    for drawing in drawings(result):
        figure = Figure(figsize=(11, drawing.height), layout="constrained")
        drawing.draw(figure)
        tracker.figure(f"{drawing.key}.png", figure)
