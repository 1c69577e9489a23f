"""Recall of the leak gate on altered copies of real images, and its false pairs among patients of COVID-CT.

    python benchmarks/gate_recall.py --covid-ct DIR --xray DIR

``--covid-ct`` is the root that the source ``covid_ct`` reads, ``--xray`` a folder of grey X-ray files. 150 images of
each are copied; all other images compete with the originals. Writes ``results/gate_recall.md``.
"""

import argparse
import re
from pathlib import Path

import numpy as np
import pandas as pd
from harness import RESULTS

from medtransfer.data.add import scan_to_manifest
from medtransfer.data.images import Pixels, read_image, to_depth
from medtransfer.data.leaks import GateConfig
from medtransfer.data.looks import Looks, make_looks
from medtransfer.data.near import near_duplicates
from medtransfer.data.recall import recall_by_transform
from medtransfer.data.sources.covid_ct import CovidCtSource

COPIED = 150


def recall(images: list[Pixels]) -> dict[str, float]:
    """Return the recall on copies of ``COPIED`` images among all."""
    generator = np.random.default_rng(0)
    chosen = generator.choice(len(images), min(COPIED, len(images)), replace=False)
    rest = np.setdiff1d(np.arange(len(images)), chosen)
    looks = make_looks(images)
    among = Looks(looks.thumbnails[rest], looks.spectra[rest])
    return recall_by_transform([images[row] for row in chosen], GateConfig(), generator, among=among)


def pairs(manifest: pd.DataFrame, images: list[Pixels]) -> pd.DataFrame:
    """Return the near-duplicates among different patients, and whether their file numbers are neighbours."""
    patient = pd.factorize(manifest["patient_id"])[0]
    near = near_duplicates(
        make_looks(images),
        np.arange(len(images)),
        lambda i, j: patient[i] != patient[j],
        least=GateConfig().min_similarity,
    )
    a, b = (manifest["path"].to_numpy(object)[rows] for rows in (near.i, near.j))
    apart = [_apart(*pair) for pair in zip(a, b, strict=True)]
    table = pd.DataFrame({"a": a, "b": b, "similarity": near.similarity, "apart": apart})
    return table.sort_values("similarity", ascending=False, ignore_index=True)


def _apart(a: str, b: str) -> float:
    """Return how far the file numbers of two images of the same kind are apart; infinite without numbers."""
    numbers = [re.fullmatch(r"(\d+)", Path(each).stem) for each in (a, b)]
    if Path(a).suffix != Path(b).suffix or not all(numbers):
        return float("inf")
    first, second = (int(each[1]) for each in numbers if each)
    return abs(first - second)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--covid-ct", type=Path, required=True)
    parser.add_argument("--xray", type=Path, required=True)
    options = parser.parse_args()
    source = CovidCtSource(root=options.covid_ct)
    manifest, _ = scan_to_manifest(source, "ct")
    slices = [_grey(options.covid_ct / path) for path in manifest["path"]]
    rays = [_grey(file) for file in sorted(options.xray.iterdir())]
    found = pairs(manifest, slices)
    shares = pd.DataFrame({"COVID-CT": recall(slices), "X-rays": recall(rays)})
    rows = [f"| {name.replace('_', ' ')} | {row.iloc[0]:.3f} | {row.iloc[1]:.3f} |" for name, row in shares.iterrows()]
    near = int((found["apart"] <= 1).sum())
    run = int(((found["apart"] > 1) & (found["apart"] <= 4)).sum())
    lines = [
        "# The leak gate on real images",
        "",
        f"`benchmarks/gate_recall.py`, {min(COPIED, len(rays))} copies of each kind among {len(slices)} slices of "
        f"COVID-CT and {len(rays)} X-rays; similarity at least {GateConfig().min_similarity}.",
        "",
        "| copy | COVID-CT | X-rays |",
        "|---|---|---|",
        *rows,
        "",
        f"Pairs of COVID-CT slices of different patients (by `patient_id`) that count as near-duplicates: "
        f"{len(found)}, of which {near} have consecutive file numbers, {run} numbers 2 to 4 apart, "
        f"and {len(found) - near - run} others.",
    ]
    (RESULTS / "gate_recall.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    print(found.to_string())


def _grey(file: Path) -> Pixels:
    return to_depth(read_image(file, channels=1), 8)


if __name__ == "__main__":
    main()
