"""Runs a stage in forked children of one prepared process and kills them: ``killed_worker.py DATA WORKSPACE KILLS``.

Importing takes seconds and a step milliseconds, so the imports are done once. Prints how many children were killed.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from conftest import POINTER, make_setting, make_spec, train_config, train_loader
from medtransfer.data.packed import PackedDataset
from medtransfer.tracking.store import import_mlflow
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.fitting import FitSpec
from medtransfer.training.run import Plan, run_plan
from medtransfer.training.supervised import SupervisedTask

STEPS = 160


class Slow(SupervisedTask):
    """Takes long enough for a kill to meet it at work."""

    def after_step(self, progress):
        time.sleep(0.01)


def make_fit(folder: Path, engine: Engine) -> FitSpec:
    """One tracked fit of the toy task."""
    data = PackedDataset.open(folder)
    train = train_config(steps=STEPS, validate_every=20, selection=None, save_every_s=0.05)
    loader = train_loader(data)
    return make_spec(data, engine, 5, task=Slow, settings=train, train=train, loaders=loader)


def main(folder: Path, workspace: Path, kills: int) -> None:
    os.chdir(workspace)
    Path("data.dvc").write_text(POINTER)
    import_mlflow()
    draw, killed = random.Random(0), 0
    while True:
        child = os.fork()
        if child == 0:
            engine = Engine(HardwareConfig(device="cpu", precision="fp32"))
            run_plan(Plan(fits=[make_fit(folder, engine)]), make_setting(engine))
            os._exit(0)
        if killed < kills:
            time.sleep(draw.uniform(0.05, 1.0))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            print(killed)
            sys.exit(os.waitstatus_to_exitcode(status))
        killed += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
