"""The fits of one stage from start to stored weights: tracked, resumable, and whole or absent.

Every fit lives in a scratch folder named by its identity (parameters, data, parent, code). It stays there when the
stage is done, so that a stage that runs again, because a seed was added or one of its conditions changed, trains only
what changed. Outputs are links to it where the file system has them: one copy on disk.
"""

import csv
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtransfer import paths
from medtransfer.config import fingerprint, flatten
from medtransfer.evaluation.interventions import INACTIVE_BELOW, inactive
from medtransfer.files import read_json, remove_made, sha256_file, write_json
from medtransfer.models.weights import DESCRIPTION, WEIGHTS
from medtransfer.tracking.figures import learning_figure
from medtransfer.tracking.journal import EVENTS
from medtransfer.tracking.mlflow_tracker import RUN, finish, open_run
from medtransfer.tracking.recorder import ARTEFACTS
from medtransfer.tracking.shipping import NOTE
from medtransfer.tracking.tracker import NullTracker, Tracker
from medtransfer.training.engine import Engine
from medtransfer.training.fitting import FitSpec, Setting, identity, run_spec, save
from medtransfer.training.initialization import READY_MADE
from medtransfer.training.loop import Fit, FitResult
from medtransfer.training.progress import console
from medtransfer.training.selection import FitMetrics, finite

DONE, HISTORY = "done.json", "history.csv"
OUTPUTS = {
    "weights": (WEIGHTS, DESCRIPTION),
    "records": (RUN, HISTORY, EVENTS, ARTEFACTS, NOTE, READY_MADE),
}
"""What a fit or ready-made weights leave; a folder that holds anything else is not replaced."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one stage of a study does: fits, or weights that are written without training.

    Attributes:
        fits: the fits of one variant; they can be resumed one by one.
        write: writes untrained or ready-made weights to their final place, before any fit.
        then: makes further fits, from weights that ``write`` left or from what ``fits`` reached, in their order: trials
            decide how the rest is trained.
    """

    fits: Sequence[FitSpec] = ()
    write: Callable[[], None] | None = None
    then: Callable[[Sequence[FitMetrics]], Sequence[FitSpec]] | None = None


def run_plan(plan: Plan, setting: Setting) -> None:
    """Run the fits of a plan and put weights and records of all conditions of their variant in place."""
    if plan.write and setting.engine.is_main:
        plan.write()
    setting.engine.share(None)  # no process reads what the main one still writes
    reached = [_run_fit(spec, setting) for spec in plan.fits]
    further = list(plan.then(reached)) if plan.then else []
    for spec in further:
        _run_fit(spec, setting)
    if setting.engine.is_main:
        _deliver([*plan.fits, *further], setting)


def scratch_folder(spec: FitSpec, setting: Setting) -> Path:
    """Return the folder of a fit below ``.scratch``; another identity has another folder."""
    return paths.workspace() / spec.scratch / fingerprint(identity(spec, setting))


def _run_fit(spec: FitSpec, setting: Setting) -> FitMetrics:
    scratch, engine = scratch_folder(spec, setting), setting.engine
    kept: FitMetrics | None = engine.share(_finished(scratch) if engine.is_main else None)
    if kept is not None:
        console.print(f"{spec.run_name}: already trained, kept", markup=False, soft_wrap=True)
        return kept
    if engine.is_main:
        _explain_fresh_start(spec, setting)
        write_json(scratch / "identity.json", flatten(identity(spec, setting)))
    records = scratch / "records"
    with open_run(run_spec(spec, setting), records) if engine.is_main else nullcontext(NullTracker()) as tracker:
        result = train_fit(spec, scratch, engine, tracker)
    reached = finite(result.metrics)
    if engine.is_main:
        finish(records)
        counts = {"best_step": result.best_step, "steps": result.steps, "seconds": result.seconds}
        write_json(scratch / DONE, counts | {"metrics": reached})
        shutil.rmtree(scratch / "resume", ignore_errors=True)
    return reached


def train_fit(spec: FitSpec, scratch: Path, engine: Engine, tracker: Tracker) -> FitResult:
    """Train a fit in a folder: ``weights/``, ``records/history.csv`` and, until it is finished, ``resume/``."""
    task, validate = spec.task(), spec.validate
    tracker.metrics(spec.counts, 0)
    result = Fit(
        task,
        spec.loaders,
        spec.train,
        engine=engine,
        tracker=tracker,
        scratch=scratch / "resume",
        seed=spec.seed,
        validate=(lambda: validate(task)) if validate else None,
        title=spec.run_name,
    ).run()
    if engine.is_main:
        shutil.rmtree(scratch / "weights", ignore_errors=True)
        save(spec, task, scratch / "weights", result)
        write_history(scratch / "records" / HISTORY, result.history)
        best = {f"best/{k.split('/', 1)[1]}": v for k, v in result.metrics.items() if k.startswith("val/")}
        tracker.metrics(best, result.best_step)
        tracker.figure("learning_curves.png", learning_figure(result.history, spec.run_name))
        summary = {name: float(getattr(result, name)) for name in ("best_step", "steps", "epochs", "seconds")}
        tracker.metrics({f"fit/{name}": value for name, value in summary.items()}, 0)
        _note_inserted(spec, result, tracker)
    return result


def _note_inserted(spec: FitSpec, result: FitResult, tracker: Tracker) -> None:
    """Tag a fit with inserted layers as awake or asleep at the weights that were kept, and warn of sleep."""
    kept = next(row for row in result.history if row["step"] == result.best_step)
    largest = kept.get("inserted/change_max")
    if largest is None:
        return
    asleep = inactive(largest)
    tracker.tags({"inserted_layers": "asleep" if asleep else "awake"})
    if asleep:
        console.print(
            f"{spec.run_name}: warning: the inserted layers are asleep: switching them off changes no validation "
            f"probability by {INACTIVE_BELOW} or more",
            markup=False,
            soft_wrap=True,
        )


def _finished(scratch: Path) -> FitMetrics | None:
    """Return what a finished fit reached, None where there is none or its files are no longer those it wrote."""
    if not (scratch / DONE).exists():
        return None
    try:
        weights = scratch / "weights"
        whole = sha256_file(weights / WEIGHTS) == read_json(weights / DESCRIPTION)["sha256"]
        kept: FitMetrics = read_json(scratch / DONE)["metrics"]
    except (OSError, ValueError, KeyError, TypeError):
        whole, kept = False, {}
    if not whole:
        console.print(f"{scratch}: not the files that the fit wrote; training again", markup=False, soft_wrap=True)
        _remove(scratch)
    return kept if whole else None


def _deliver(fits: Sequence[FitSpec], setting: Setting) -> None:
    """Replace the outputs of the fits, then drop their scratch folders of other identities.

    Killed half-way, the next call finds every fit in its scratch folder and delivers again.

    Raises:
        DataError: a folder that would be replaced holds something that no fit makes.
    """
    for spec in fits:
        scratch = scratch_folder(spec, setting)
        for kind, known in OUTPUTS.items():
            source, target = scratch / kind, paths.workspace() / getattr(spec, kind)
            remove_made(target, (*known, *(entry.name for entry in source.iterdir())))
            shutil.copytree(source, target, copy_function=_link)
        for other in set(scratch.parent.glob("*/")) - {scratch}:
            _remove(other)


def _link(source: str, target: str) -> None:
    """Give a file a second name, or copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _remove(folder: Path) -> None:
    """Rename before deleting: a half-deleted scratch folder must not be taken for a finished fit."""
    doomed = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)


def write_history(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write one row per validation as CSV, columns in order of first appearance."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns)
        writer.writeheader()
        writer.writerows(history)


def _explain_fresh_start(spec: FitSpec, setting: Setting) -> None:
    """Say why the scratch folders of the same fit are not used: the first values that differ."""
    mine = scratch_folder(spec, setting)
    now: dict[str, Any] = flatten(identity(spec, setting))
    for other in sorted(mine.parent.glob("*/identity.json")):
        if other.parent == mine:
            continue
        before = read_json(other)
        changed = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
        differences = "; ".join(f"{key}: {before.get(key)!r} -> {now.get(key)!r}" for key in changed[:5])
        console.print(f"{spec.run_name}: not continuing earlier work ({differences})", soft_wrap=True, markup=False)
