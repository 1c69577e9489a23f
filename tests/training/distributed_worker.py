"""One of several processes that train the toy task together: ``distributed_worker.py DATA OUT`` under torchrun."""

import json
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


def main(folder: Path, out: Path) -> None:
    engine = Engine(HardwareConfig(device="cpu", precision="fp32"))
    data = PackedDataset.open(folder)
    # Another start on every process: the main one's must win.
    task = Watched(make_net(seed=engine.rank), CLASSES)
    score = validation(data, engine)
    tracker = MemoryTracker()
    Fit(
        task,
        train_loader(data, rank=engine.rank, world=engine.world),
        train_config(),
        engine=engine,
        tracker=tracker if engine.is_main else NullTracker(),
        scratch=out / "resume",
        seed=5,
        validate=lambda: score(task),
    ).run()
    torch.save({"weights": weights(task), "rows": task.rows}, out / f"rank{engine.rank}.pt")
    (out / f"points{engine.rank}.json").write_text(json.dumps(tracker.points))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
