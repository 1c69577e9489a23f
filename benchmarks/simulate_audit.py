"""How often the audit sees a planted marker: verdicts on phantoms and small networks, by the marker's correlation.

For each seed 480 X-ray phantoms of 320 patients train a small network to tell COVID-19 from the rest, and 360 of 240
other patients are audited. A marker is burnt in whose correlation with the label is the same in both sets. Images,
patients, hospitals and lesions of a seed are the same at every correlation; hospitals are independent of the label.
The limits of the rule were set on *development*; the next two settings have places, correlations and seeds that were
not used for it. The last one shows where the audit ends: half-opaque letters over the edge of the lungs, which the
networks hardly use. Every line of ``results/audit.csv`` is one audit; a run that was cut off goes on where it ended:
``simulate_audit.py [seeds per setting] [processes]``.
"""

import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medtransfer.audit.cases import Cases
from medtransfer.audit.offered import offered
from medtransfer.audit.used import Answer, Model, used
from medtransfer.audit.verdicts import ORDER, Half, conclude
from medtransfer.data.phantom.cxr import CxrConfig, draw_cxr
from medtransfer.data.phantom.record import lungs
from medtransfer.data.phantom.scanner import CXR_SCANNERS
from medtransfer.data.phantom.shortcuts import UPPER_CORNERS, Place, burn_marker, marked

RESULTS = Path(__file__).parent / "results"
SEEDS = 20
SIZE, TRAIN, AUDITED = 48, 320, 240
EPOCHS, BATCH, RATE = 12, 32, 3e-3
CORNERS: tuple[Place, ...] = ("lower left", "lower right")
SIDES: tuple[Place, ...] = ("left", "right", "top", "bottom")
EVERYWHERE: tuple[Place, ...] = (*UPPER_CORNERS, *CORNERS, *SIDES)


@dataclass(frozen=True)
class Setting:
    """Where a marker is, how opaque, its correlations with the label, and the first seed."""

    name: str
    places: tuple[Place, ...]
    opacity: float
    strengths: tuple[float, ...]
    first: int


SETTINGS = (
    Setting("development", UPPER_CORNERS, 1.0, (0, 0.2, 0.4, 0.6, 0.8, 1), 0),
    Setting("lower corners, opacity 0.7", CORNERS, 0.7, (0, 0.15, 0.35, 0.55, 0.85, 1), 100),
    Setting("any of eight places", EVERYWHERE, 1.0, (0, 0.1, 0.3, 0.5, 0.8, 0.95), 200),
    Setting("over the edge of the lungs, opacity 0.5", SIDES, 0.5, (0, 0.8, 1), 300),
)
COLUMNS = (
    "setting",
    "correlation",
    "seed",
    "data",
    "model",
    "data annotated",
    "model annotated",
    "auroc",
    "border",
    "outside",
    "follows surroundings",
    "lungs masked",
    "covered",
)


class Pool(NamedTuple):
    """Phantoms without markers."""

    images: NDArray[np.uint8]
    lungs: NDArray[np.bool_]
    positive: NDArray[np.bool_]
    patients: NDArray[np.object_]
    source: NDArray[np.object_]
    view: NDArray[np.object_]


@cache
def pool(seed: int, patients: int, part: int) -> Pool:
    """Draw the phantoms of one seed: one or two images per patient, half of the patients positive."""
    drawn: list[tuple[Any, ...]] = []
    for patient in range(patients):
        rng = np.random.default_rng([seed, part, patient])
        positive, other = patient % 2 == 0, "normal" if rng.random() < 0.5 else "pneumonia"
        scanner = CXR_SCANNERS[int(rng.integers(3))]
        for number in range(1 + patient // 2 % 2):
            streams = (
                np.random.default_rng([seed, part, patient, 1]),
                np.random.default_rng([seed, part, patient, 2, number]),
            )
            phantom = draw_cxr(*streams, "covid" if positive else other, scanner, CxrConfig(size=SIZE))  # type: ignore[arg-type]
            drawn.append((phantom.image, lungs(phantom.mask), positive, f"p{patient}", phantom.source, phantom.view))
    columns = [np.array(column, object if isinstance(column[0], str) else None) for column in zip(*drawn, strict=True)]
    return Pool(*columns)


def planted(cases: Pool, setting: Setting, strength: float, seed: int) -> Cases:
    """Burn the marker in with a correlation."""
    rng = np.random.default_rng([seed, 7])
    images, markers = cases.images.copy(), np.zeros(cases.images.shape, bool)
    for place, positive in enumerate(cases.positive):
        if marked(rng, bool(positive), strength):
            images[place], marker = burn_marker(rng, images[place], places=setting.places, opacity=setting.opacity)
            left, top, right, bottom = marker.box
            markers[place, top:bottom, left:right] = True
    attributes = {"source": cases.source, "view": cases.view}
    return Cases(images[:, None], cases.positive.astype(np.int64), cases.patients, attributes, cases.lungs, markers)


def network() -> nn.Sequential:
    """Return a small convolutional network with 64 features and one logit."""
    layers: list[nn.Module] = []
    for before, after, side, stride in ((1, 16, 5, 2), (16, 32, 3, 1), (32, 64, 3, 1)):
        layers += [nn.Conv2d(before, after, side, stride, side // 2), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1))


def trained(cases: Cases, seed: int) -> Model:
    """Train the network and return it as the audit calls it."""
    torch.manual_seed(seed)
    net, rng = network(), np.random.default_rng([seed, 9])
    images, target = _input(cases.images), torch.from_numpy(cases.target).float()
    steps = EPOCHS * (len(cases) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        order = torch.from_numpy(rng.permutation(len(cases)))
        for start in range(0, len(cases) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            batch = images[rows].flip(3) if rng.random() < 0.5 else images[rows]
            loss = nn.functional.binary_cross_entropy_with_logits(net(batch)[:, 0], target[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    net.eval()

    @torch.inference_mode()
    def model(changed: NDArray[Any]) -> Answer:
        features = net[:-1](_input(changed))
        return Answer(net[-1](features)[:, 0].double().numpy(), features.double().numpy())

    return model


def _input(images: NDArray[Any]) -> torch.Tensor:
    return (torch.from_numpy(images).float() / 255 - 0.4) / 0.3


def audited(setting: Setting, strength: float, seed: int) -> dict[str, Any]:
    """Train and audit once."""
    parts = [
        planted(pool(seed, count, part), setting, strength, 2 * seed + part)
        for part, count in enumerate((TRAIN, AUDITED))
    ]
    model = trained(parts[0], seed)
    answer = model(parts[1].images)
    data, half = offered(parts[1]), used(parts[1], replace(answer, features=None), model)
    values = {row.name: row.value for row in (*data.rows, *half.rows) if row.value is not None}
    names = {
        "auroc": "model",
        "border": "border",
        "outside": "outside the lungs",
        "follows surroundings": "surroundings of another image",
        "lungs masked": "lungs masked",
        "covered": "markers covered",
    }
    return {
        "setting": setting.name,
        "correlation": strength,
        "seed": seed,
        "data": _without(data, "markers"),
        "model": _without(half, "markers covered"),
        "data annotated": data.verdict,
        "model annotated": half.verdict,
        **{short: round(values[name], 4) if name in values else "" for short, name in names.items()},
    }


def _without(half: Half, name: str) -> str:
    """Return the verdict as it is when nobody has annotated the markers."""
    return conclude([row for row in half.rows if row.name != name]).verdict


def simulate(file: Path, seeds: int, *, processes: int = 1) -> None:
    """Audit what the file lacks, seed by seed, and append each seed's lines when it is finished."""
    done = {(row["setting"], int(row["seed"])) for row in read(file)}
    tasks = [(one, one.first + number) for number in range(seeds) for one in SETTINGS]
    waiting = [task for task in tasks if (task[0].name, task[1]) not in done]
    if processes == 1:
        for task in waiting:
            append(file, _seed(task))
        return
    with get_context("spawn").Pool(processes) as workers:
        for rows in workers.imap_unordered(_seed, waiting):
            append(file, rows)


def _seed(task: tuple[Setting, int]) -> list[dict[str, Any]]:
    """Audit one seed of a setting at every correlation."""
    torch.set_num_threads(1)
    setting, seed = task
    rows = [audited(setting, strength, seed) for strength in setting.strengths]
    pool.cache_clear()
    return rows


def read(file: Path) -> list[dict[str, str]]:
    """Return the lines of the table; none where there is no file."""
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def append(file: Path, rows: list[dict[str, Any]]) -> None:
    """Append lines and sort the file; a killed run leaves the file before or after, never half a line."""
    lines = sorted([*read(file), *rows], key=lambda row: (int(row["seed"]), float(row["correlation"])))
    staged = file.with_suffix(".part")
    with staged.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    staged.replace(file)


def median(verdicts: list[str]) -> str:
    """Return the lower median of verdicts in their order; those that cannot tell have no place in it."""
    ranks = sorted(ORDER.index(one) for one in verdicts if one in ORDER)
    return ORDER[ranks[(len(ranks) - 1) // 2]] if ranks else "cannot tell"


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return the results as Markdown: a line per setting, half of the audit and correlation."""
    heads = ("setting", "half", "correlation", "audits", *ORDER, "cannot tell", "median", "alarms, annotated", "AUROC")
    lines = ["# Verdicts of the audit on planted markers", "", " ".join((__doc__ or "").split()), ""]
    lines += [
        "*Alarms, annotated*: verdicts that are suspicious or confounded where the places of markers are known too."
    ]
    lines += [
        "*AUROC*: that of the audited networks, median.",
        "",
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
    ]
    for setting in SETTINGS:
        for half in ("data", "model"):
            for strength in setting.strengths:
                own = [r for r in rows if r["setting"] == setting.name and float(r["correlation"]) == strength]
                if own:
                    lines.append(f"| {setting.name} | {half} | {strength:g} | {' | '.join(_line(own, half))} |")
    return "\n".join(lines) + "\n"


def _line(rows: Sequence[Mapping[str, str]], half: str) -> list[str]:
    verdicts = [row[half] for row in rows]
    counts = [str(verdicts.count(one)) for one in (*ORDER, "cannot tell")]
    alarms = sum(row[f"{half} annotated"] in ORDER[1:] for row in rows)
    auroc = float(np.median([float(row["auroc"]) for row in rows]))
    return [str(len(rows)), *counts, median(verdicts), str(alarms), f"{auroc:.3f}"]


if __name__ == "__main__":
    numbers = [int(one) for one in sys.argv[1:]]
    simulate(RESULTS / "audit.csv", numbers[0] if numbers else SEEDS, processes=numbers[1] if numbers[1:] else 1)
    (RESULTS / "audit.md").write_text(table(read(RESULTS / "audit.csv")), encoding="utf-8")
