"""The fits of a trial, one after the other, in a workspace that holds nothing of the pipeline but links to it."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from medtransfer import paths, studies
from medtransfer.errors import ConfigError
from medtransfer.params import Params
from medtransfer.tracking.store import tracking_uri
from medtransfer.tracking.tracker import DatasetInput, NullTracker, Tracker
from medtransfer.training.fitting import FitSpec, Setting, run_spec
from medtransfer.training.loop import FitResult
from medtransfer.training.run import train_fit
from medtransfer.training.selection import finite
from medtransfer.tuning.config import SearchConfig

Observe = Callable[[str, Mapping[str, float]], None]
"""Called with the phase and the metrics of each validation; it may raise to stop the trial."""
Begin = Callable[[FitSpec], None]
"""Called with the last fit of a trial before it is trained."""


class Place(NamedTuple):
    """What one fit of a trial is, and the folder of its phase."""

    phase: str
    folder: str
    variant: str
    condition: str


def places(search: SearchConfig, params: Params) -> list[Place]:
    """Return the fits of a trial under its parameters.

    Raises:
        ConfigError: a phase, variant or condition does not exist, or more than one is left.
    """
    wiring, config = studies.module(search.study, "study"), params.study(search.study)
    found = []
    for fit in search.fits:
        _one(fit.phase, tuple(wiring.PHASES), f"phase of {search.study}")
        variants = wiring.variants(config, fit.phase)
        variant = _one(None if fit.variant == studies.ALL else fit.variant, variants, f"variant of {fit.phase}")
        conditions = wiring.conditions(config, fit.phase, variant)
        condition = _one(fit.condition, conditions, f"condition of {fit.phase} {variant}")
        found.append(Place(fit.phase, wiring.PHASES[fit.phase].folder, variant, condition))
    return found


def _one(name: str | None, known: Sequence[str], what: str) -> str:
    if name is None and len(known) != 1:
        raise ConfigError(f"fits: {len(known)} {what}s are left, expected one; name one of {', '.join(known)}")
    if name is not None and name not in known:
        raise ConfigError(f"fits: {name!r} is no {what}; there are {', '.join(known) or 'none'}")
    return name or known[0]


@contextmanager
def private_workspace(folder: Path, search: SearchConfig, params: Params, seed: int) -> Iterator[None]:
    """Make a workspace for one trial and be in it: packed data and earlier weights are links, all else is new.

    Earlier weights are those of the pipeline that the trial does not train itself; where they lack the trial's seed,
    their first seed stands for it. On leaving, everything but the records is deleted.

    Args:
        folder: of the workspace.
        search: says what a trial trains.
        params: of the trial.
        seed: of the trial.
    """
    root, folder = paths.workspace().absolute(), folder.absolute()
    shutil.rmtree(folder / paths.OUT, ignore_errors=True)
    (folder / paths.OUT).mkdir(parents=True)
    (folder / paths.OUT / "datasets").symlink_to(root / paths.OUT / "datasets")
    _link_earlier(root, folder, search.study, {place[1:] for place in places(search, params)}, seed)
    changed = {"DVC_ROOT": str(folder), "MLFLOW_TRACKING_URI": tracking_uri()}
    before, here = {name: os.environ.get(name) for name in changed}, Path.cwd()
    os.environ.update(changed)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        for used in (paths.OUT, paths.SCRATCH):
            shutil.rmtree(folder / used, ignore_errors=True)


def _link_earlier(root: Path, folder: Path, study: str, own: set[tuple[str, ...]], seed: int) -> None:
    for kind in ("weights", "records"):
        top = paths.study_folder(study) / kind
        for condition in (root / top).glob("*/*/*/"):
            place = condition.relative_to(root / top)
            seeds = sorted(condition.glob("seed*"))
            if place.parts in own or not seeds:
                continue
            (folder / top / place).mkdir(parents=True)
            links = {entry.name: entry for entry in seeds}
            for name, target in ({f"seed{seed:d}": seeds[0]} | links).items():
                (folder / top / place / name).symlink_to(target)


def run_fits(
    search: SearchConfig, params: Params, setting: Setting, tracker: Tracker, *, observe: Observe, begin: Begin
) -> tuple[FitSpec, FitResult]:
    """Train the fits of a trial in the present workspace; return the last one and what it reached.

    Raises:
        ConfigError: a fit trains nothing, because its weights are ready-made.
    """
    config, wanted = params.study(search.study), places(search, params)
    for place in wanted:
        (plan,) = studies.plans(
            search.study, config, place.phase, place.variant, setting, conditions=(place.condition,)
        )
        if not plan.fits:
            raise ConfigError(f"fits: {place.phase} {place.variant} trains nothing; leave it out of the search")
        own = _OfPhase(tracker, place.phase, observe)
        before = begin if place is wanted[-1] else None
        last, reached = None, []
        for spec in plan.fits:
            last = spec, _train(spec, setting, own, before)
            reached.append(finite(last[1].metrics))
        for spec in plan.then(reached) if plan.then else ():
            last = spec, _train(spec, setting, own, before)
    assert last is not None  # a search has at least one fit, and a plan too
    return last


def _train(spec: FitSpec, setting: Setting, tracker: "_OfPhase", begin: Begin | None) -> FitResult:
    """Train one fit and put its weights where the next one looks for them; a plan's own trials are not recorded."""
    if not spec.trial:
        tracker.inputs(run_spec(spec, setting).datasets)
        if begin:
            begin(spec)
    result = train_fit(spec, spec.scratch, setting.engine, NullTracker() if spec.trial else tracker)
    spec.weights.parent.mkdir(parents=True, exist_ok=True)
    spec.weights.symlink_to((spec.scratch / "weights").absolute())
    return result


class _OfPhase(Tracker):
    """Passes what one fit records on to its trial's run, under the name of the phase, and shows it to a watcher."""

    def __init__(self, tracker: Tracker, phase: str, observe: Observe) -> None:
        self._tracker, self._phase, self._observe = tracker, phase, observe

    def inputs(self, datasets: Sequence[DatasetInput]) -> None:
        for dataset in datasets:
            self._tracker.dataset(dataset)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self._tracker.metrics({f"{self._phase}/{name}": value for name, value in values.items()}, step)
        self._observe(self._phase, values)

    def figure(self, name: str, figure: Any) -> None:
        self._tracker.figure(f"{self._phase}_{name}", figure)
