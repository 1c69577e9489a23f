"""One seed of one stage from start to stored weights: tracked, resumable, and whole or absent.

DVC deletes a stage's outputs before it runs the stage again, so everything lives in a scratch folder named by the
identity of the work (parameters, data, parents, code) until all seeds are done, and is copied into place at the end.
"""

import csv
import hashlib
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import medtransfer
from medtransfer import paths
from medtransfer.config import fingerprint, flatten
from medtransfer.data.loaders import Loader
from medtransfer.files import read_json, remove_made, write_json
from medtransfer.models.weights import DESCRIPTION, WEIGHTS
from medtransfer.tracking.figures import learning_figure
from medtransfer.tracking.journal import EVENTS
from medtransfer.tracking.mlflow_tracker import RUN, finish, open_run
from medtransfer.tracking.recorder import ARTEFACTS
from medtransfer.tracking.shipping import NOTE
from medtransfer.tracking.tracker import NullTracker, RunSpec, Tracker
from medtransfer.training.engine import Engine
from medtransfer.training.loop import Fit, FitResult
from medtransfer.training.optim import TrainConfig
from medtransfer.training.progress import console
from medtransfer.training.starts import READY_MADE
from medtransfer.training.task import Task

CODE_ROOMS = ("config", "data", "evaluation", "losses", "models", "ssl", "studies", "training")
HISTORY = "history.csv"
OUTPUTS = {
    "weights": (WEIGHTS, DESCRIPTION),
    "records": (RUN, HISTORY, EVENTS, ARTEFACTS, NOTE, READY_MADE),
}
"""What stands in a fit's two folders, whichever version of it is replaced."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One seed of one variant.

    Attributes:
        spec: how the run appears in the tracker.
        identity: everything that decides the result; a change starts the work anew.
        seed: of weights, order, augmentation and dropout.
        config: the fit's budget, optimiser and selection.
        task: builds what is trained; not called when the seed is already done.
        loaders: training loaders; the test split never reaches them.
        validate: validation metrics of the task, or ``None``.
        save: writes the weights folder of the finished task.
        part: folder of the fit below the stage's outputs, for a stage that trains more than the seeds of one variant.
        counts: what was counted in the data, by metric name; tracked once, at step 0.
    """

    spec: RunSpec
    identity: Mapping[str, Any]
    seed: int
    config: TrainConfig
    task: Callable[[], Task]
    loaders: Loader | Mapping[str, Loader]
    validate: Callable[[Task], dict[str, float]] | None
    save: Callable[[Task, Path, FitResult], None]
    part: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a part that is no plain name, as it becomes a folder."""
        if self.part:
            paths.plain_name(self.part, "part of a stage")

    @property
    def place(self) -> str:
        """Folder of this fit below the stage's scratch folder."""
        return f"{self.part}/seed{self.seed}".lstrip("/")


Outcome = dict[str, float | None]
"""The validation metrics of the weights that a fit selected; an undefined one is None."""


def run_stage(
    stage: str,
    jobs: Sequence[Job],
    *,
    out: Path,
    engine: Engine,
    then: Callable[[Sequence[Outcome]], Sequence[Job]] | None = None,
) -> None:
    """Run the fits of a stage, each resumable by itself, and put weights and records into ``out``.

    Args:
        stage: its name, unique in the workspace.
        jobs: its fits.
        out: folder of the stage's outputs.
        engine: where the fits run.
        then: makes further fits from the outcomes of ``jobs``, in their order: trials decide how the rest is trained.
    """
    root = paths.workspace() / paths.scratch(stage)
    mark = fingerprint({"jobs": [dict(job.identity) for job in jobs], "code": code_digest()})
    scratch = root / mark
    if engine.is_main:
        _explain_fresh_start(root, mark, jobs)
        write_json(scratch / "identity.json", [flatten(job.identity) for job in jobs])
    outcomes = [_run_job(job, scratch / job.place, engine) for job in jobs]
    further = then(outcomes) if then else ()
    # their identities are not in the first folder's name: they are known only now
    second = scratch / fingerprint({"jobs": [dict(job.identity) for job in further]})
    for job in further:
        _run_job(job, second / job.place, engine)
    if engine.is_main:
        _deliver(scratch, jobs, out)
        _deliver(second, further, out)
        _remove(root)


def _deliver(scratch: Path, jobs: Sequence[Job], out: Path) -> None:
    """Copy, not move: killed half-way, the next call finds everything in the scratch folder and copies again.

    Raises:
        DataError: a folder that would be replaced holds something that no fit makes.
    """
    for kind, known in OUTPUTS.items():
        for job in jobs:
            source, target = scratch / job.place / kind, out / job.part / kind / f"seed{job.seed}"
            remove_made(target, (*known, *(entry.name for entry in source.iterdir())))
            shutil.copytree(source, target)


def _remove(folder: Path) -> None:
    """Rename before deleting: a half-deleted scratch folder must not be taken for finished work."""
    doomed = folder.with_name(f".{folder.name}.done")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)


def _run_job(job: Job, scratch: Path, engine: Engine) -> Outcome:
    done = scratch / "done.json"
    if engine.share(done.exists()):
        console.print(f"{job.spec.name}: already trained, kept", markup=False)
        kept: Outcome = engine.share(read_json(done)["metrics"] if engine.is_main else None)
        return kept
    records = scratch / "records"
    with open_run(job.spec, records) if engine.is_main else nullcontext(NullTracker()) as tracker:
        result = _fit(job, scratch, engine, tracker)
    outcome = finite(result.metrics)
    if engine.is_main:
        finish(records)
        counts = {"best_step": result.best_step, "steps": result.steps, "seconds": result.seconds}
        write_json(done, counts | {"metrics": outcome})
        shutil.rmtree(scratch / "resume", ignore_errors=True)
    return outcome


def _fit(job: Job, scratch: Path, engine: Engine, tracker: Tracker) -> FitResult:
    task, validate = job.task(), job.validate
    tracker.metrics(job.counts, 0)
    result = Fit(
        task,
        job.loaders,
        job.config,
        engine=engine,
        tracker=tracker,
        scratch=scratch / "resume",
        seed=job.seed,
        validate=(lambda: validate(task)) if validate else None,
        title=job.spec.name,
    ).run()
    if engine.is_main:
        shutil.rmtree(scratch / "weights", ignore_errors=True)
        job.save(task, scratch / "weights", result)
        write_history(scratch / "records" / HISTORY, result.history)
        best = {f"best/{k.split('/', 1)[1]}": v for k, v in result.metrics.items() if k.startswith("val/")}
        tracker.metrics(best, result.best_step)
        tracker.figure("learning_curves.png", learning_figure(result.history, job.spec.name))
        summary = {name: float(getattr(result, name)) for name in ("best_step", "steps", "epochs", "seconds")}
        tracker.metrics({f"fit/{name}": value for name, value in summary.items()}, 0)
    return result


def finite(metrics: Mapping[str, float]) -> Outcome:
    """Return metrics fit for JSON, which knows no NaN: an undefined one is None."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def write_history(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write one row a validation as CSV, columns in order of first appearance."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns)
        writer.writeheader()
        writer.writerows(history)


def code_digest() -> str:
    """Return a hash over the source of every room that can change a trained weight."""
    root = Path(medtransfer.__file__).parent
    digest = hashlib.sha256()
    for room in CODE_ROOMS:
        for file in sorted((root / room).rglob("*.py")):
            digest.update(file.relative_to(root).as_posix().encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _explain_fresh_start(root: Path, mark: str, jobs: Sequence[Job]) -> None:
    """Say why resume files of the same stage are not used: the first values that differ."""
    now = {f"{i}.{k}": v for i, job in enumerate(jobs) for k, v in flatten(job.identity).items()}
    for other in root.glob("*/identity.json") if root.exists() else ():
        if other.parent.name == mark:
            continue
        before = {f"{i}.{k}": v for i, flat in enumerate(read_json(other)) for k, v in flat.items()}
        changed = [k for k in sorted(before.keys() | now.keys()) if before.get(k) != now.get(k)]
        shown = "; ".join(f"{k}: {before.get(k)!r} -> {now.get(k)!r}" for k in changed[:5]) or "the code changed"
        console.print(f"not resuming {root.name} from {other.parent.name}: {shown}", soft_wrap=True, markup=False)
