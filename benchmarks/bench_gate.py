"""The near search of the leak gate at 1,000 to 1,000,000 rows, from stored thumbnails and spectra.

Every row is a random field with the power spectrum of natural images; one in a hundred is a copy of an earlier row,
cropped by up to 5 % per side. A quarter of the rows is held out. Each size runs in a process of its own, so that its
peak memory is its own; making thumbnails and spectra is not part of the time.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import record

from medtransfer.data.looks import FRAMES, SIDE, SIZE, Floats, Looks, spectra
from medtransfer.data.near import near_duplicates
from medtransfer.data.registration import warp

SIZES = (1_000, 10_000, 100_000, 200_000, 1_000_000)
COPIES = 100
CHUNK = 10_000


def store(rows: int, folder: Path) -> None:
    """Write the looks of ``rows`` synthetic images, copies last."""
    generator = np.random.default_rng(rows)
    small = np.lib.format.open_memmap(folder / "t.npy", "w+", np.uint8, (rows, SIDE, SIDE))
    look = np.lib.format.open_memmap(folder / "s.npy", "w+", np.float16, (rows, FRAMES, SIZE))
    originals = rows - rows // COPIES
    for start in range(0, rows, CHUNK):
        stop = min(rows, start + CHUNK)
        small[start:stop] = new = fields(stop - start, generator)
        copied = np.arange(max(start, originals), stop)
        if len(copied):
            new[copied - start] = cropped(np.asarray(small[copied - originals], np.float32), generator)
        small[start:stop], look[start:stop] = new, spectra(new)


def fields(count: int, generator: np.random.Generator) -> np.ndarray:
    """Return random fields with amplitude ~ 1/f^1.5, uint8 ``[count, 64, 64]``."""
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)).astype(np.float32)
    frequency[0, 0] = 1 / SIDE
    noise = generator.standard_normal((count, *frequency.shape, 2), np.float32).view(np.complex64)[..., 0]
    smooth = np.fft.irfft2(noise * frequency**-1.5, s=(SIDE, SIDE))
    low, high = smooth.min((1, 2), keepdims=True), smooth.max((1, 2), keepdims=True)
    return np.asarray((smooth - low) / (high - low) * 255).astype(np.uint8)


def cropped(images: Floats, generator: np.random.Generator) -> np.ndarray:
    """Return the images without up to 5 % of each side."""
    cut = generator.uniform(0, 0.05, (len(images), 4)).astype(np.float32)
    zero = np.zeros(len(images), np.float32)
    rows = [
        1 - cut[:, 0] - cut[:, 2],
        zero,
        cut[:, 0] - cut[:, 2],
        zero,
        1 - cut[:, 1] - cut[:, 3],
        cut[:, 1] - cut[:, 3],
    ]
    return np.asarray(warp(images, np.stack(rows, 1).reshape(-1, 2, 3)))


def peak_gb() -> float:
    """Return the largest memory of this process so far in GB, mapped files that were read included."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e6


def measure(rows: int, folder: Path) -> dict[str, Any]:
    """Search the stored rows: wall and processor seconds, peak memory in GB, and the share of copies found."""
    looks = Looks(np.load(folder / "t.npy", mmap_mode="r"), np.load(folder / "s.npy", mmap_mode="r"))
    held_out = np.random.default_rng(0).random(rows) < 0.25
    originals = rows - rows // COPIES
    held_out[originals:] = True
    wall, processor = time.perf_counter(), time.process_time()
    near = near_duplicates(looks, np.flatnonzero(held_out), lambda i, j: held_out[i] != held_out[j], least=0.945)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    counted = ~held_out[: rows // COPIES]
    found = set(zip(near.i.tolist(), near.j.tolist(), strict=True))
    hits = sum((row, row + originals) in found for row in np.flatnonzero(counted).tolist())
    return {
        "rows": rows,
        "seconds": wall,
        "processor_s": processor,
        "peak_gb": peak_gb(),
        "copies_found": hits / counted.sum(),
        "false_pairs": len(found) - hits,
        "candidates": near.candidates,
        "cut": near.cut,
        "radius": near.radius,
    }


def main() -> None:
    """Measure every size and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=SIZES)
    parser.add_argument("--folder", type=Path, help="of one stored size, to measure it alone")
    options = parser.parse_args()
    if options.folder:
        print(json.dumps(measure(options.rows[0], options.folder)))
        return
    results = []
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as name:
            store(rows, Path(name))
            command = [sys.executable, __file__, "--rows", str(rows), "--folder", name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results.append(json.loads(done.stdout))
            print(results[-1], flush=True)
    record("gate", results, goal="200,000 rows within 60 s, 1,000,000 within 60 s and 3 GB, near-linear")


if __name__ == "__main__":
    main()
