"""``medtransfer fit STUDY PHASE VARIANT``: train every condition and seed of a variant."""

from argparse import Namespace

from medtransfer import code, studies
from medtransfer.params import load_params
from medtransfer.stages import leftovers
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
    for plan in studies.plans(options.study, config, options.phase, options.variant, setting, conditions=chosen):
        run_plan(plan, setting)
