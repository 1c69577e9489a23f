"""One of several processes that train the toy task together: ``distributed_worker.py DATA OUT [STEP]`` under torchrun.

Each has resume files of its own, as on several machines. With ``STEP`` all end after that step.
"""

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parent))

from conftest import CLASSES, make_net, train_config, train_loader, validation, weights
from medtransfer.data.packed import PackedDataset
from medtransfer.tracking.tracker import MemoryTracker, NullTracker
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.loop import Fit
from medtransfer.training.supervised import SupervisedTask


class Watched(SupervisedTask):
    """Keeps the rows that this process was given."""

    def __init__(self, model, classes):
        super().__init__(model, classes)
        self.rows = []

    def losses(self, batch):
        self.rows.append(batch["index"])
        return super().losses(batch)


def stop_after(fit: Fit, step: int) -> None:
    save = fit._save

    def save_and_stop() -> None:
        save()
        if fit.progress.step == step:
            os._exit(3)

    fit._save = save_and_stop


def main(folder: Path, out: Path, stop: int = 0) -> None:
    engine = Engine(HardwareConfig(device="cpu", precision="fp32"))
    data = PackedDataset.open(folder)
    # Another start on every process: the main one's must win.
    task = Watched(make_net(seed=engine.rank), CLASSES)
    score = validation(data, engine)
    tracker = MemoryTracker()
    fit = Fit(
        task,
        train_loader(data, rank=engine.rank, world=engine.world),
        train_config(),
        engine=engine,
        tracker=tracker if engine.is_main else NullTracker(),
        scratch=out / f"resume{engine.rank}",
        seed=5,
        validate=lambda: score(task),
    )
    if stop:
        stop_after(fit, stop)
    fit.run()
    torch.save({"weights": weights(task), "rows": task.rows}, out / f"rank{engine.rank}.pt")
    (out / f"points{engine.rank}.json").write_text(json.dumps(tracker.points))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
