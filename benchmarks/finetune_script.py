"""Fine-tuning as tutorials write it: what ``bench_finetune.py`` compares with. It imports nothing of this project.

``python benchmarks/finetune_script.py FOLDER NETWORK WEIGHTS [--tuned]``: ``ImageFolder`` below ``FOLDER/train`` and
``FOLDER/val``, torchvision's transforms, ``DataLoader`` with two workers, AdamW, the best weights kept. ``--tuned``
adds what is well known to make it faster: bf16 autocast, channels last, the fused optimiser, workers that stay between
epochs. Prints one JSON line: seconds by part, mean training loss and validation AUROC of every epoch.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

WORKERS = 2
POSITIVE = "covid"
seconds: defaultdict[str, float] = defaultdict(float)


@contextmanager
def part(name: str) -> Iterator[None]:
    """Add the time of a block to a part of the whole."""
    begun = time.perf_counter()
    yield
    seconds[name] += time.perf_counter() - begun


def waited(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield batches and count the time that the loop waits for them."""
    with part("loading"):
        iterator = iter(batches)
    while True:
        with part("loading"):
            batch = next(iterator, None)
        if batch is None:
            return
        yield batch


def loaders(options: argparse.Namespace) -> tuple[Any, Any, int]:
    """Return the loaders of both splits and the number of the positive class."""
    normalize = [T.ToTensor(), T.Normalize([options.mean] * 3, [options.std] * 3)]
    resize, crop = T.Resize((options.size, options.size)), options.crop
    augment = [resize, T.RandomResizedCrop(crop, scale=(0.5, 1.0)), T.RandomHorizontalFlip()]
    train = ImageFolder(options.folder / "train", T.Compose([*augment, *normalize]))
    val = ImageFolder(options.folder / "val", T.Compose([resize, T.CenterCrop(crop), *normalize]))
    shared: dict[str, Any] = {"num_workers": WORKERS, "persistent_workers": options.tuned}
    return (
        DataLoader(train, options.batch, shuffle=True, drop_last=True, **shared),
        DataLoader(val, options.batch, **shared),
        train.class_to_idx[POSITIVE],
    )


def main() -> None:
    """Train, validate after every epoch, keep the best weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("network")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--tuned", action="store_true")
    for name in ("epochs", "batch", "size", "crop"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("mean", "std", "lr", "weight_decay"):
        parser.add_argument(f"--{name}", type=float, required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    layout = torch.channels_last if options.tuned else torch.contiguous_format
    model = timm.create_model(options.network, num_classes=2)
    model.load_state_dict(torch.load(options.weights))
    model = model.to(memory_format=layout)
    optimizer = torch.optim.AdamW(
        model.parameters(), options.lr, weight_decay=options.weight_decay, fused=options.tuned or None
    )
    train, val, positive = loaders(options)
    losses, aurocs, best = [], [], -1.0
    for _ in range(options.epochs):
        model.train()
        total = 0.0
        for images, labels in waited(train):
            with part("training"):
                with torch.autocast("cpu", torch.bfloat16, enabled=options.tuned):
                    loss = F.cross_entropy(model(images.to(memory_format=layout)), labels)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total += loss.item()
        with part("validation"):
            model.eval()
            scores, truth = [], []
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=options.tuned):
                for images, labels in val:
                    scores.append(model(images.to(memory_format=layout)).float().softmax(1)[:, positive])
                    truth.append(labels == positive)
            auroc = float(roc_auc_score(torch.cat(truth), torch.cat(scores)))
        if auroc > best:
            best = auroc
            with part("saving"):
                torch.save(model.state_dict(), options.weights.with_name("best.pt"))
        losses.append(total / len(train))
        aurocs.append(auroc)
    print(json.dumps({"seconds": seconds, "losses": losses, "aurocs": aurocs}), flush=True)


if __name__ == "__main__":
    main()
