"""``medtransfer fit STUDY PHASE VARIANT``: train every condition and seed of a variant."""

from argparse import Namespace
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from medtransfer import code, paths, studies
from medtransfer.files import read_json
from medtransfer.params import load_params
from medtransfer.stages import leftovers
from medtransfer.tracking.describing import mark_replaced
from medtransfer.tracking.mlflow_tracker import RUN
from medtransfer.training.engine import Engine
from medtransfer.training.fitting import Setting
from medtransfer.training.run import run_plan


def run(options: Namespace) -> None:
    """Train, track and store a variant; a killed stage continues where it stopped."""
    params = load_params()
    digest = code.digest(studies.entries("fit", options.study, options.phase))
    setting = Setting(engine=Engine(params.hardware), profile=params.profile, pointers=params.pointers, code=digest)
    if setting.engine.is_main:
        leftovers.clear()
    config, chosen = params.study(options.study), options.condition
    before = _runs(options.study)
    for plan in studies.plans(options.study, config, options.phase, options.variant, setting, conditions=chosen):
        run_plan(plan, setting)
    if setting.engine.is_main:
        mark_replaced(options.study, _replaced(before, _runs(options.study)))


def _runs(study: str) -> dict[Path, set[str]]:
    """Return the keys of a study's runs by the folder of their fit, which has one more while a fit trains again."""
    found: dict[Path, set[str]] = {}
    for record in (paths.workspace() / paths.below(paths.SCRATCH / "fits", study, "study")).glob(f"**/records/{RUN}"):
        with suppress(OSError, ValueError, KeyError, TypeError):  # damaged: the fit trains again, and says so
            found.setdefault(record.parents[2], set()).add(read_json(record)["run_key"])
    return found


def _replaced(before: Mapping[Path, set[str]], after: Mapping[Path, set[str]]) -> dict[str, str]:
    """Return run key → key of the run in its place, where a fit was trained again and its old folder is gone."""
    return {
        old: new
        for folder, keys in before.items()
        if len(now := after.get(folder, set())) == 1
        for new in now - keys
        for old in keys
    }
