"""The phase ``start``: pretrained bases from ready-made weights, or a note that there are none."""

from collections.abc import Sequence

from medtransfer.errors import UnreachableError
from medtransfer.files import write_json
from medtransfer.studies.visual_transfer import study
from medtransfer.studies.visual_transfer.config import AbsentInit, VisualTransferConfig
from medtransfer.training.fitting import Setting
from medtransfer.training.initialization import READY_MADE, absence, write_ready_made
from medtransfer.training.progress import console
from medtransfer.training.run import Plan


def plan(config: VisualTransferConfig, phase: str, variant: str, conditions: Sequence[str], setting: Setting) -> Plan:
    """Return a plan that writes the weights of a base, or why there are none."""
    del phase, conditions, setting
    return Plan(write=lambda: _write(config, variant))


def _write(config: VisualTransferConfig, name: str) -> None:
    base, fit = config.bases[name], study.base(name)
    if isinstance(base.start, AbsentInit):
        why = "no weights are declared"
    elif not (why := absence(base.start)):
        try:
            write_ready_made(config.base_network(name), base.start, [fit])
        except UnreachableError as error:
            why = str(error)
    if why:
        write_json(fit.records / READY_MADE, {"absent": why})
        console.print(f"{name}: not available, {why}; its columns are left out", markup=False, soft_wrap=True)
