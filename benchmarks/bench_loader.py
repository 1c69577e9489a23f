"""Packed loader against ImageFolder + DataLoader with two workers, PNG to 224: images a second, and what both see.

Grey pictures leave the packed loader as three channels that share memory, as training receives them; what is lost when
the three are also written apart, as ImageFolder's are, is measured beside it (``ratio_written_apart``).
"""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import interleave, record
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

from medtransfer.data.loaders import Loader
from medtransfer.data.manifest import build_manifest
from medtransfer.data.packed import PackConfig, PackedDataset, pack
from medtransfer.data.transforms import AugmentConfig
from medtransfer.models.memory import keep_freed_memory

IMAGES, BATCH, PACKED, CROP = 64, 32, 256, 224
GOAL = "packed loader at least 50 times ImageFolder with two workers on 1,024² PNGs to 224"


def write_pictures(root: Path, side: int) -> None:
    """Grey pictures of smooth shapes and fine noise, so that PNG compresses them about as far as a radiograph."""
    rng = np.random.default_rng(0)
    for i in range(IMAGES):
        coarse = Image.fromarray(rng.integers(20, 236, (12, 12), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.float32)
        picture = np.clip(smooth + rng.normal(0, 2, (side, side)), 0, 255).astype(np.uint8)
        folder = root / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{i:03d}.png", compress_level=3)


def open_packed(root: Path, folder: ImageFolder) -> PackedDataset:
    rows = [
        {
            "image_id": f"bench/{i}",
            "patient_id": f"bench:{i}",
            "dataset": "bench",
            "path": str(Path(path).relative_to(root)),
            "label": folder.classes[target],
            "split": "train",
        }
        for i, (path, target) in enumerate(folder.samples)
    ]
    out = root.parent / f"packed-{root.name}"
    pack(build_manifest(rows), root, out, PackConfig(size=PACKED), meta={})
    return PackedDataset.open(out)


def png_pipeline(data: PackedDataset, *, train: bool) -> T.Compose:
    crop = [T.RandomCrop(CROP), T.RandomHorizontalFlip()] if train else [T.CenterCrop(CROP)]
    normalize = T.Normalize(data.meta.mean * 3, data.meta.std * 3)
    return T.Compose([T.Resize((PACKED, PACKED)), *crop, T.ToTensor(), normalize])


def compare(side: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / str(side)
        write_pictures(root, side)
        folder = ImageFolder(str(root))
        data = open_packed(root, folder)
        rows = data.rows("train")
        seen = Loader(data, rows, batch_size=BATCH, seed=0, train=False, crop=CROP)
        folder.transform = png_pipeline(data, train=False)
        difference = largest_difference(DataLoader(folder, BATCH), seen.epoch(0)) * data.meta.std[0] * 255

        folder.transform = png_pipeline(data, train=True)
        augment = AugmentConfig(crop=CROP, hflip=0.5)
        packed = Loader(data, rows, batch_size=BATCH, seed=0, train=True, augment=augment)
        decoded = DataLoader(folder, BATCH, shuffle=True, num_workers=2, persistent_workers=True)
        times = interleave(lambda: exhaust(decoded), lambda: exhaust(packed.epoch(0)), rounds=9)
        apart = interleave(lambda: exhaust(decoded), lambda: exhaust(write_apart(packed.epoch(0))), rounds=5)
    rates = {"images_s_imagefolder": IMAGES / times["slow_s"], "images_s_packed": IMAGES / times["fast_s"]}
    checks = {"ratio_written_apart": apart["ratio"], "largest_difference_grey_levels": difference}
    return {"png_side": side, "load_average": os.getloadavg()[0], **times, **rates, **checks}


def write_apart(batches: Iterable[Any]) -> Iterable[Any]:
    return (batch["image"].contiguous() for batch in batches)


def largest_difference(decoded: Iterable[Any], packed: Iterable[Any]) -> float:
    """Compare the evaluation views, which have no random numbers, and their targets."""
    largest = 0.0
    for (images, targets), batch in zip(decoded, packed, strict=True):
        assert torch.equal(targets, batch["target"])
        largest = max(largest, float((images - batch["image"]).abs().max()))
    return largest


def exhaust(batches: Iterable[Any]) -> None:
    for _ in batches:
        pass


def main() -> None:
    keep_freed_memory()  # as every fit does
    torch.set_num_threads(1)  # the other side has two workers
    rows = [compare(side) for side in (1024, 256)]
    assert all(row["largest_difference_grey_levels"] < 1 for row in rows), "the two loaders see different pictures"
    record("loader", rows, goal=GOAL)


if __name__ == "__main__":
    main()
