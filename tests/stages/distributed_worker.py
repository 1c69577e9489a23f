"""The command line as one of several processes: ``distributed_worker.py OUT VERB …`` under torchrun.

Only the main process stores weights, so each leaves those that it trained as ``OUT/rank<N>.pt``.
"""

import sys
from pathlib import Path

import torch

from medtransfer.__main__ import main
from medtransfer.training.loop import Fit

train = Fit.run


def train_and_keep(self):
    result = train(self)
    torch.save(self.task.module.state_dict(), Path(sys.argv[0]) / f"rank{self.engine.rank}.pt")
    return result


if __name__ == "__main__":
    Fit.run = train_and_keep
    del sys.argv[0]
    main()
