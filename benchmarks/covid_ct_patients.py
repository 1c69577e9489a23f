"""Which images of COVID-CT are of one patient: correlation of neighbouring file numbers, and what the rule makes of it.

    python benchmarks/covid_ct_patients.py FOLDER

FOLDER holds COVID-CT in its published layout. Non-COVID images are named by number alone, ``114.png`` and ``14%0.jpg``.
The images are compared as grey thumbnails of 32 × 32 by their correlation, ``.png`` and ``.jpg`` apart. Pairs whose
numbers are far apart are of different patients: they say how alike two patients are. Where neighbours are of one
patient they are more alike. The tables are written to ``results/covid_ct_patients.md``.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from medtransfer.data.hashing import THUMBNAIL
from medtransfer.data.images import read_image, resize
from medtransfer.data.sources import CovidCtSource
from medtransfer.data.sources.base import Row
from medtransfer.data.sources.covid_ct import patient_of

RESULT = Path(__file__).parent / "results" / "covid_ct_patients.md"
SPLITS = ("train", "val", "test")
FAR = 100
"""Numbers at least this far apart are taken as different patients."""
STEPS = ((0, 0), (1, 1), (2, 2), (3, 3), (4, 5), (6, 30), (31, FAR - 1), (FAR, 10**6))
FALSE_LINKS = (0.05, 0.01)


def numbered(rows: Sequence[Row], suffix: str) -> list[tuple[int, Row]]:
    """Return number and row of the non-COVID images with a suffix, by number."""
    named = ((re.match(r"(\d+)(%\d+)?" + re.escape(suffix), Path(row["path"]).name), row) for row in rows)
    return sorted(((int(name[1]), row) for name, row in named if name), key=lambda pair: (pair[0], pair[1]["path"]))


def pairs(root: Path, images: Sequence[tuple[int, Row]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return how far the numbers of all pairs are apart, and the correlation of their thumbnails."""
    files = [resize(read_image(root / row["path"], channels=1), THUMBNAIL).ravel() for _, row in images]
    i, j = np.triu_indices(len(images), 1)
    numbers = np.array([number for number, _ in images])
    correlation: NDArray[np.float64] = np.atleast_2d(np.corrcoef(np.stack(files).astype(np.float64)))[i, j]
    return numbers[j] - numbers[i], correlation


def correlations(suffix: str, apart: NDArray[np.int64], correlation: NDArray[np.float64]) -> Iterable[str]:
    """Yield a table row per distance of numbers; the last is of pairs taken as different patients."""
    farthest = max(low for low, _ in STEPS if (apart >= low).any())
    far = correlation[apart >= farthest]
    for low, high in STEPS:
        values = correlation[(apart >= low) & (apart <= high)]
        if values.size:
            name = str(low) if low == high else f"{low} or more" if low == FAR else f"{low}–{high}"
            below = (values < np.median(far)).mean()
            yield (
                f"| `{suffix}` | {name} | {values.size} | {values.mean():.2f} | {np.median(values):.2f} | "
                f"{np.quantile(values, 0.05):.2f} … {np.quantile(values, 0.95):.2f} | {below:.0%} |"
            )


def limits(apart: NDArray[np.int64], correlation: NDArray[np.float64]) -> list[str]:
    """Return what the rule links wrongly at most, and what a limit of correlation would link and miss."""
    near, far = correlation[apart == 1], correlation[apart >= FAR]
    below = int((near < np.median(far)).sum())
    share = 2 * below / near.size
    most = 2 * float(betaincinv(below + 1, near.size - below, 0.95))
    lines = [
        f"{below} of {near.size} neighbours correlate below the median of different patients. Half of the neighbours",
        f"that are of different patients do: they are at most {share:.0%} (one-sided 95 % bound {most:.0%}).",
        "",
        "| limit | different patients above it | neighbours linked | neighbours of one patient missed, at least |",
        "|---|---|---|---|",
        f"| none: the rule | 100 % | {near.size} of {near.size} | 0 % |",
    ]
    for rate in FALSE_LINKS:
        limit = float(np.quantile(far, 1 - rate))
        missed = ((near < limit).mean() - share * (1 - rate)) / (1 - share)
        lines.append(f"| {limit:.2f} | {rate:.0%} | {(near >= limit).sum()} of {near.size} | {missed:.0%} |")
    return lines


def crossings(images: Sequence[tuple[int, Row]]) -> str:
    """Say how often the official splits cut between neighbours: a cut is rare where both are of one patient."""
    cut = {True: [0, 0], False: [0, 0]}
    for (number, row), (following, other) in pairwise(images):
        counts = cut[following == number + 1]
        counts[0] += row["split"] != other["split"]
        counts[1] += 1
    wrong = cut[True][0] * cut[False][1] / cut[False][0]
    return (
        f"The official splits cut {cut[True][0]} of {cut[True][1]} links between consecutive numbers, and "
        f"{cut[False][0]} of {cut[False][1]} gaps between runs. If they cut between patients as often where numbers "
        f"are consecutive, {wrong:.0f} of the links ({wrong / cut[True][1]:.0%}) are between different patients."
    )


def patients(rows: Sequence[Row]) -> list[str]:
    """Return images and patients by class and split, before the rule and with it, and the shared patients."""
    lines = ["| class | split | images | patients by name alone | patients |", "|---|---|---|---|---|"]
    shared: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        shared[row["patient_id"]][row["split"]] += 1
    for label in ("covid", "non-covid"):
        for split in (*SPLITS, "all"):
            own = [row for row in rows if row["label"] == label and split in (row["split"], "all")]
            names, ids = {patient_of(Path(row["path"]).name) for row in own}, {row["patient_id"] for row in own}
            lines.append(f"| {label} | {split} | {len(own)} | {len(names)} | {len(ids)} |")
    several = {patient: counts for patient, counts in shared.items() if len(counts) > 1}
    lines += ["", f"{len(several)} of {len(shared)} patients are in more than one official split:", ""]
    lines += ["| patient | train | val | test |", "|---|---|---|---|"]
    lines += [f"| `{p}` | {' | '.join(str(counts.get(s, 0)) for s in SPLITS)} |" for p, counts in several.items()]
    return lines


def main(root: Path) -> None:
    """Measure a copy of COVID-CT and write the tables."""
    rows = CovidCtSource(root=root).scan().rows
    other = [row for row in rows if row["label"] == "non-covid"]
    lines = [
        "# COVID-CT: which images are of one patient",
        "",
        "Correlation of 32 × 32 thumbnails of non-COVID images by the distance of their file numbers (0: parts of one",
        "figure); the last column is the share below the median of the pairs that are farthest apart.",
        "",
        "| files | numbers apart | pairs | mean | median | 5 … 95 % | below that median |",
        "|---|---|---|---|---|---|---|",
    ]
    measured = {suffix: pairs(root, numbered(other, suffix)) for suffix in (".png", ".jpg")}
    for suffix, (apart, correlation) in measured.items():
        lines += correlations(suffix, apart, correlation)
    lines += ["", "## The rule: consecutive `.png` numbers are one patient", "", *limits(*measured[".png"]), ""]
    lines += [crossings(numbered(other, ".png")), "", "## Patients", "", *patients(rows), ""]
    text = re.sub(r"(?<=\d)%", " %", "\n".join(lines))
    RESULT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
