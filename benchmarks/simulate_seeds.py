"""How often a verdict on two networks is wrong, and how often there is one, with chance in patients and in training.

Two networks are trained with k seeds each and tested on 203 images of patients with 1 to 8 images each, correlated by
0.5 within a patient. The true AUROC of a network differs from seed to seed by the seed sd; its mean over all seeds is
0.76, and 0.76 + difference for the other. Scores of the same image are correlated: 0.5 between networks, 0.7 between
seeds of a network. A verdict is given when the interval of the difference excludes zero; at a true difference of
zero, every verdict is false.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtrit

from medtransfer.evaluation.chance import Chance
from medtransfer.evaluation.summary import AUROC as RULES

RESULTS = Path(__file__).parent / "results"
SEED_SD = (0.0, 0.02, 0.05, 0.07, 0.14)
DIFFERENCES = (0.0, 0.05, 0.10, 0.15)
SEEDS = (2, 3, 5)
IMAGES, AUROC, CORRELATION = 203, 0.76, 0.5
SHARES = np.sqrt([0.5, 0.2, 0.3])
"""Standard deviations of what all networks, the seeds of one network, and one seed see in an image."""
METHODS = ("Cochran", "Satterthwaite", "patients alone", "oracle")
COLUMNS = ("seed sd", "seeds", "true difference", "repetitions", *METHODS, "Cochran, wrong side")


def one_study(rng: np.random.Generator, sd: float, difference: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Draw one study with the largest number of seeds.

    Returns:
        Differences of AUROC ``[seeds]``, their covariance over patients ``[seeds, seeds]`` (Obuchowski 1997), and the
        patients of the smaller class.
    """
    size = patient_sizes(rng)
    ill = rng.permutation(len(size)) < len(size) // 2
    patient = np.repeat(np.arange(len(size)), size)
    target, seeds = ill[patient], max(SEEDS)

    def field(*shape: int) -> np.ndarray:
        own: np.ndarray = np.sqrt(1 - CORRELATION) * rng.standard_normal((*shape, len(patient)))
        own += np.sqrt(CORRELATION) * rng.standard_normal((*shape, len(size)))[..., patient]
        return own

    noise = SHARES[0] * field() + SHARES[1] * field(2, 1) + SHARES[2] * field(2, seeds)
    truth = np.clip(np.array([[AUROC + difference], [AUROC]]) + sd * rng.standard_normal((2, seeds)), 0.5, 0.999)
    score = noise + np.sqrt(2) * ndtri(truth)[..., None] * target
    above = score[..., target][..., :, None] > score[..., ~target][..., None, :]
    upper, lower = above.mean(-1, dtype=np.float32), above.mean(-2, dtype=np.float32)
    auroc = upper.mean(-1)
    influence = np.zeros((seeds, len(size)))
    for rows, part in ((target, upper), (~target, lower)):
        deviation = (part - auroc[..., None])[0] - (part - auroc[..., None])[1]
        np.add.at(influence.T, patient[rows], deviation.T / rows.sum())
    covariance = sum(own.sum() / (own.sum() - 1) * influence[:, own] @ influence[:, own].T for own in (ill, ~ill))
    return auroc[0] - auroc[1], np.asarray(covariance), int(min(ill.sum(), (~ill).sum()))


def patient_sizes(rng: np.random.Generator) -> np.ndarray:
    """Return the images of each patient, 1 to 8 and ``IMAGES`` together."""
    size = rng.integers(1, 9, IMAGES)
    last = int(np.searchsorted(size.cumsum(), IMAGES))
    size[last] -= size.cumsum()[last] - IMAGES
    return size[: last + 1]


def half_widths(points: np.ndarray, covariance: np.ndarray, patients: int) -> dict[str, float]:
    """Return half the width of each method's interval of the mean of points ``[seeds]``."""
    count, freedom = len(points), 2.0 * (patients - 1)
    lost = RULES.difference.lost
    variance = float(covariance.mean()) * (patients - 1) / (patients - lost)
    chance = Chance(variance, variance, freedom, float(points.var(ddof=1)) / count, count)
    parts = np.array([variance, chance.training])
    effective = parts.sum() ** 2 / (parts**2 / [freedom, count - 1]).sum()
    return {
        "Cochran": chance.reach(0.05),
        "Satterthwaite": float(stdtrit(effective, 0.975) * np.sqrt(parts.sum())),
        "patients alone": Chance(variance, variance, freedom).reach(0.05),
    }


def simulate(sd: float, difference: float, repetitions: int) -> Iterator[dict[str, Any]]:
    """Yield one row for each number of seeds: the share of studies that each method decides."""
    rng = np.random.default_rng([round(1000 * sd), round(1000 * difference)])
    studies = [one_study(rng, sd, difference) for _ in range(repetitions)]
    for count in SEEDS:
        means = np.array([points[:count].mean() for points, _, _ in studies])
        halves = [half_widths(points[:count], cov[:count, :count], patients) for points, cov, patients in studies]
        reach = {name: np.array([half[name] for half in halves]) for name in METHODS[:-1]}
        reach["oracle"] = np.full(repetitions, 1.959964 * means.std())
        decided = {name: float((np.abs(means) > reach[name]).mean()) for name in METHODS}
        wrong = float((means < -reach["Cochran"]).mean())
        names = {"seed sd": sd, "seeds": count, "true difference": difference, "repetitions": repetitions}
        yield names | decided | {"Cochran, wrong side": wrong}


def write(rows: list[dict[str, Any]]) -> None:
    """Write ``results/seeds.csv`` and ``seeds.md``."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "seeds.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    lines = ["# Verdicts on two networks with few seeds", "", " ".join((__doc__ or "").split()), ""]
    lines += [
        "Share of studies with a verdict, in per cent. Cochran’s interval is the one in use; the oracle knows the "
        "variance of the mean difference.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
    ]
    for row in rows:
        shares = [f"{100 * row[name]:.1f}" for name in COLUMNS[4:]]
        lines.append(f"| {' | '.join([*(f'{row[name]:g}' for name in COLUMNS[:4]), *shares])} |")
    (RESULTS / "seeds.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asked = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    write([row for sd in SEED_SD for gap in DIFFERENCES for row in simulate(sd, gap, asked)])
