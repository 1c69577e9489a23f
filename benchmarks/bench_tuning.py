"""Searches: trials per hour by workers and threads, the cost of tracking and Optuna, eight workers on one storage.

``python benchmarks/bench_tuning.py [storage|workers|overhead]...`` in a workspace whose pipeline has run (``storage``
needs none), which stays as it is: searches run in a temporary workspace with links to its outputs.
``MEDTRANSFER_BENCH_STORAGE=postgresql+psycopg://…`` adds a fresh PostgreSQL to the first.
"""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

from medtransfer import tracking

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

TRIALS, WORKERS = 200, 8
ROUNDS, TRIALS_EACH = 2, 6


def storage() -> None:
    """Eight processes × 200 tiny trials in all on one storage: time, lost, double."""
    from medtransfer.tuning.storage import open_storage
    from medtransfer.tuning.study import counted, open_study
    from medtransfer.tuning.worker import work
    from tiny_search import search_of, squared  # type: ignore[import-not-found]

    for address in [None, *filter(None, [os.environ.get("MEDTRANSFER_BENCH_STORAGE")])]:
        with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
            search = search_of(trials=TRIALS * WORKERS)
            context = multiprocessing.get_context("fork")
            begun = time.perf_counter()
            processes = [
                context.Process(target=work, args=(search, address), kwargs={"worker": number, "run": squared})
                for number in range(WORKERS)
            ]
            for process in processes:
                process.start()
            for process in processes:
                process.join()
            seconds = time.perf_counter() - begun
            store = open_storage("tiny", address)
            trials = open_study("tiny", search.config, search.space_hash, store, address, 0).get_trials()
            numbers = [trial.number for trial in trials]
            done = [trial for trial in counted(trials) if trial.state.name == "COMPLETE"]
            lost, double = TRIALS * WORKERS - len(done), len(numbers) - len(set(numbers))
            name = "PostgreSQL" if address else "journal file"
            print(f"{name}: {len(trials)} trials, {lost} lost, {double} double, {seconds:.0f} s")


def workers() -> None:
    """The same search with two workers of one thread, one of one, and one of two, in turn on the same two cores."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    for round_number in range(ROUNDS):
        for label, count, used in (("1 x 1", 1, cores[:1]), ("2 x 1", 2, cores), ("1 x 2", 1, cores)):
            name = f"bench{round_number}{label.replace(' ', '')}"
            with _search(name):
                words = [sys.executable, "-m", "medtransfer", "tune", name, "--workers", str(count)]
                begun = time.perf_counter()
                subprocess.run(["taskset", "-c", ",".join(map(str, used)), *words], check=True, capture_output=True)
                whole, at_work = time.perf_counter() - begun, _seconds_at_work(name)
            print(
                f"{label} threads, round {round_number}: {3600 * TRIALS_EACH / at_work:.0f} trials per hour at work, "
                f"{3600 * TRIALS_EACH / whole:.0f} with start and end ({at_work:.1f} s, {whole:.1f} s)"
            )


@contextlib.contextmanager
def _search(name: str) -> Iterator[None]:
    """Be in a temporary workspace whose params.yaml has a search over the learning rate alone: trials cost the same."""
    root = Path.cwd()
    tree = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    one = tree["tuning"]["cut"] | {"budget": {"trials": TRIALS_EACH}, "pruning": None, "former": {}}
    key = "truncated_transfer.train.optimizer.lr"
    one |= {"space": {key: one["space"][key]}, "objectives": one["objectives"][:1]}
    one["fixed"] = one["fixed"] | {"truncated_transfer.variants": ["densenet121_t2-transfer"]}
    tree["tuning"] = {name: one}
    for dataset in tree["datasets"].values():
        dataset["source"]["root"] = str(root / dataset["source"]["root"])
        dataset["pointer"] = str(root / dataset.get("pointer", "data.dvc"))
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        Path("params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
        Path("out").mkdir()
        for made in (root / "out").iterdir():
            if made.name not in ("tuning", "report"):
                (Path("out") / made.name).symlink_to(made)
        tracking.prepare_store()  # a fresh database takes seconds, which are no part of a search
        yield


def _seconds_at_work(name: str) -> float:
    """From the first trial's start to the last one's end."""
    from medtransfer.tuning.storage import open_storage

    (study,) = open_storage(name, None).get_all_studies()
    trials = open_storage(name, None).get_all_trials(study._study_id)
    begun, ended = min(t.datetime_start for t in trials), max(t.datetime_complete for t in trials)
    return float((ended - begun).total_seconds())


def overhead() -> None:
    """Time of whole trials, asked and told and tracked, against the time of their fits in the loop."""
    from medtransfer.tracking.journal import points, read_events
    from medtransfer.tuning.storage import folder, open_storage

    name = "benchoverhead"
    with _search(name):
        words = [sys.executable, "-m", "medtransfer", "tune", name]
        subprocess.run(words, check=True, capture_output=True)
        (study,) = open_storage(name, None).get_all_studies()
        for trial in open_storage(name, None).get_all_trials(study._study_id):
            events, _ = read_events(folder(name) / f"trial{trial.number}" / "records" / "events.jsonl")
            fit = next(value for key, _, value in points(events) if key.endswith("fit/seconds"))
            whole = (trial.datetime_complete - trial.datetime_start).total_seconds()
            print(f"trial {trial.number}: {whole:.2f} s, of which {fit:.2f} s in the loop")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # temporary workspaces are removed
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    for part in sys.argv[1:] or ["storage", "workers", "overhead"]:
        {"storage": storage, "workers": workers, "overhead": overhead}[part]()
