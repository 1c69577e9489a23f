"""Do maps find a planted marker when the network uses it? Explainers, by the share of positives that carry the marker.

For each seed and kind of network, 480 X-ray phantoms of 320 patients train it to tell COVID-19 from the rest; letters
are burnt into an upper corner of 0, 20, 50, 80 or 100 % of the positives and of no negative. Then 48 images of other
patients are seen twice, without and with the marker. *Reliance* is what the marker adds to the probability of COVID-19,
mean over these images. *Sensitivity* of an explainer is the share of its heat in the marker's box ÷ the share of the
image that the box covers, mean over the same images with the marker: 1 is chance. Images, markers' places and starts of
a seed are the same at every share. Every line of ``results/marker_maps.csv`` is one explainer of one network; a run
that was cut off goes on where it ended: ``marker_maps.py [seeds]``.
"""

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from simulate_audit import Pool, pool
from torch import nn

from medtransfer.data.phantom.shortcuts import burn_marker
from medtransfer.explain.explainers import TITLES, explain, fitting
from medtransfer.explain.localisation import agreement
from medtransfer.models.classifier import Classifier, NetworkConfig, build_network
from medtransfer.models.heads import joined
from medtransfer.models.insertion import AttentionConfig
from medtransfer.models.multitask import LABEL, MultitaskConfig
from medtransfer.models.tokens import TransformerConfig

RESULTS = Path(__file__).parent / "results"
SHARES = (0.0, 0.2, 0.5, 0.8, 1.0)
SEEDS, FIRST = 3, 500
TRAIN, SEEN = 320, 48
EPOCHS, BATCH, RATE = 10, 32, 2e-3
SIDE = 48
TRUNK = NetworkConfig(backbone="resnet18", cut="layer2")
NETWORKS = {
    "convolutional, with attention layers": NetworkConfig(
        backbone="resnet18", cut="layer2", attention=AttentionConfig(sites=("layer2.1",), gamma=0.1)
    ),
    "transformer on convolutions": MultitaskConfig(
        corpus=TRUNK, side=SIDE, transformer=TransformerConfig(width=64, layers=2, heads=4), tasks=(LABEL,)
    ),
}
COLUMNS = ("network", "share", "seed", "auroc", "reliance", "explainer", "sensitivity", "pointing", "flat")


def planted(cases: Pool, share: float, seed: int) -> NDArray[np.uint8]:
    """Burn the marker into a share of the positives: the same ones and more as the share grows."""
    images, order = cases.images.copy(), np.random.default_rng([seed, 1]).permutation(np.flatnonzero(cases.positive))
    for place in order[: round(share * len(order))]:
        images[place], _ = burn_marker(np.random.default_rng([seed, 2, int(place)]), images[place])
    return images


def views(images: NDArray[np.uint8]) -> torch.Tensor:
    grey = (torch.from_numpy(images).float() / 255 - 0.4) / 0.3
    return grey[:, None].expand(-1, 3, -1, -1).contiguous()


def trained(kind: str, images: NDArray[np.uint8], positive: NDArray[np.bool_], seed: int) -> Classifier:
    """Train a network of a kind."""
    net, rng = build_network(NETWORKS[kind], 2, seed=seed), np.random.default_rng([seed, 9])
    x, target, steps = views(images), torch.from_numpy(positive).long(), EPOCHS * (len(images) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    net.train()
    for _ in range(EPOCHS):
        order = torch.from_numpy(rng.permutation(len(images)))
        for start in range(0, len(images) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            batch = x[rows].flip(3) if rng.random() < 0.5 else x[rows]
            loss = nn.functional.cross_entropy(joined(net(batch)), target[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return net.eval()


@torch.no_grad()
def probability(net: Classifier, x: torch.Tensor) -> NDArray[np.float64]:
    return torch.softmax(joined(net(x)), 1)[:, 1].double().numpy()


def measured(kind: str, share: float, seed: int) -> list[dict[str, Any]]:
    """Train one network and score its explainers."""
    from sklearn.metrics import roc_auc_score

    training, others = pool(seed, TRAIN, 0), pool(seed, SEEN, 1)
    net = trained(kind, planted(training, share, seed), training.positive, seed)
    images, positive = others.images[:SEEN], others.positive[:SEEN]
    marked, boxes = images.copy(), np.zeros(images.shape, bool)
    for place in range(len(images)):
        marked[place], marker = burn_marker(np.random.default_rng([seed, 3, place]), images[place])
        left, top, right, bottom = marker.box
        boxes[place, top:bottom, left:right] = True
    without, within = probability(net, views(images)), probability(net, views(marked))
    fixed = {"network": kind, "share": share, "seed": seed, "auroc": round(roc_auc_score(positive, without), 4)}
    fixed["reliance"] = round(float((within - without).mean()), 4)
    rows = []
    for name in fitting(net):
        found = agreement(explain(name, net, views(marked), 1).numpy(), boxes)
        values = {"sensitivity": found.ratio, "pointing": found.pointing}
        known = {key: "" if value is None else round(value, 4) for key, value in values.items()}
        rows.append({**fixed, "explainer": name, **known, "flat": found.flat})
    return rows


def read(file: Path) -> list[dict[str, str]]:
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def simulate(file: Path, seeds: int, *, kinds: Sequence[str] = tuple(NETWORKS)) -> None:
    """Measure what the file lacks and append it network by network."""
    for seed in range(FIRST, FIRST + seeds):
        for kind in kinds:
            for share in SHARES:
                rows = read(file)
                if any((r["network"], float(r["share"]), int(r["seed"])) == (kind, share, seed) for r in rows):
                    continue
                staged = file.with_suffix(".part")
                with staged.open("w", newline="", encoding="utf-8") as handle:
                    writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
                    writer.writeheader()
                    writer.writerows([*rows, *measured(kind, share, seed)])
                staged.replace(file)


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return the results as Markdown: a line per kind and explainer, sensitivity by share, and its agreement."""
    lines = ["# Maps and a planted marker", "", " ".join((__doc__ or "").split()), ""]
    for kind in NETWORKS:
        own = [row for row in rows if row["network"] == kind]
        if not own:
            continue
        lines += [f"## {kind.capitalize()}", "", _row(["", *(f"{share:.0%}" for share in SHARES), "rank correlation"])]
        lines += [f"|{'---|' * (len(SHARES) + 2)}", _row(["*networks*", *(_count(own, s) for s in SHARES), ""])]
        for title, column in (("*AUROC without marker*", "auroc"), ("*reliance*", "reliance")):
            lines.append(_row([title, *(_mean(own, share, column, 2) for share in SHARES), ""]))
        for name in dict.fromkeys(row["explainer"] for row in own):
            mine = [row for row in own if row["explainer"] == name]
            means = [_mean(mine, share, "sensitivity", 1) for share in SHARES]
            lines.append(_row([TITLES[name], *means, _correlation(mine)]))
        lines.append("")
    return "\n".join([*lines, "Rank correlation: of sensitivity and reliance over the networks of the kind.", ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _count(rows: Sequence[Mapping[str, str]], share: float) -> str:
    return str(len({row["seed"] for row in rows if float(row["share"]) == share}))


def _mean(rows: Sequence[Mapping[str, str]], share: float, column: str, digits: int) -> str:
    values = [float(row[column]) for row in rows if float(row["share"]) == share and row[column] != ""]
    return f"{np.mean(values):.{digits}f}" if values else "—"


def _correlation(rows: Sequence[Mapping[str, str]]) -> str:
    pairs = [(float(row["sensitivity"]), float(row["reliance"])) for row in rows if row["sensitivity"] != ""]
    if len(pairs) < 3 or len({first for first, _ in pairs}) == 1:
        return "—"
    return f"{spearmanr(*zip(*pairs, strict=True)).statistic:.2f}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    simulate(RESULTS / "marker_maps.csv", int(sys.argv[1]) if sys.argv[1:] else SEEDS)
    (RESULTS / "marker_maps.md").write_text(table(read(RESULTS / "marker_maps.csv")), encoding="utf-8")
