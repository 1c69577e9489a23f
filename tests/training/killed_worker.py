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

from safetensors.torch import save

from conftest import CLASSES, make_net, train_config, train_loader, validation
from medtransfer.data.packed import PackedDataset
from medtransfer.files import write_bytes
from medtransfer.tracking.store import import_mlflow
from medtransfer.tracking.tracker import RunSpec
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.loop import FitResult
from medtransfer.training.run import Job, run_stage
from medtransfer.training.task import SupervisedTask

STEPS = 160


class Slow(SupervisedTask):
    """Takes long enough for a kill to meet it at work."""

    def after_step(self, progress):
        time.sleep(0.01)


def store(done: SupervisedTask, folder: Path, result: FitResult) -> None:
    """Write the weights as a study would."""
    state = {name: tensor.contiguous() for name, tensor in done.module.state_dict().items()}
    write_bytes(folder / "model.safetensors", save(state))


def make_job(folder: Path, engine: Engine, **changes) -> Job:
    """One tracked fit of the toy task."""
    data = PackedDataset.open(folder)
    score = validation(data, engine)
    return Job(
        spec=RunSpec(experiment="toy", name="toy · seed 5", params={"steps": STEPS}),
        identity={"steps": STEPS, "data": data.meta.content_hash},
        seed=5,
        config=train_config(**changes),
        task=lambda: Slow(make_net(), CLASSES),
        loaders=train_loader(data),
        validate=score,
        save=store,
    )


def main(folder: Path, workspace: Path, kills: int) -> None:
    os.chdir(workspace)
    import_mlflow()
    draw, killed = random.Random(0), 0
    while True:
        child = os.fork()
        if child == 0:
            engine = Engine(HardwareConfig(device="cpu", precision="fp32"))
            job = make_job(folder, engine, steps=STEPS, validate_every=20, selection=None, save_every_s=0.05)
            run_stage("toy", [job], out=Path("out"), engine=engine)
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
