"""What Liu & Ji 2021 printed and claimed, as data, and the verdict of one's own predictions on each claim.

The numbers are the CSV files in ``paper/``, typed from Tables 1–6; a number that is not there is not available. Claims
are linear contrasts of cells (network, chain), so the same arithmetic gives the paper's value and ours. All values are
fractions of 1, where the paper prints per cent.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from medtransfer.evaluation.summary import Sample, summarise

Cell = tuple[str, str]
"""(network, chain)"""
Contrast = dict[Cell, float]
"""Weight of every cell."""
Verdict = Literal["holds", "does not hold", "not decidable"]

PAPER = Path(__file__).parent / "paper"
NO_TRANSFER = "none"
WHOLE_CHAIN = "stl_n-stl_m-sstl_m"
_CHAINS = {
    "no_tl": NO_TRANSFER,
    "stl-n": "stl_n",
    "stl-m": "none-stl_m",
    "tl": WHOLE_CHAIN,
    "stl-n+stl-m+sstl-m": WHOLE_CHAIN,
    "stl-n+stl-m+ours": WHOLE_CHAIN,
    "stl-n+stl-m+moco": "stl_n-stl_m-moco",
    "stl-n+stl-m+simclr": "stl_n-stl_m-simclr",
}
_ATTENTION = {"baseline": 0, "1attn": 1, "5attn": 5}
_METRICS = {"accuracy": "accuracy", "f1": "f1", "auc": "auroc"}


def attention_layers(network: str) -> int:
    """Return the number of ATTN layers that a network's name ``<backbone>_attn<number>`` states."""
    return int(network.rpartition("_attn")[2])


def plain(network: str) -> str:
    """Return the name of the same backbone without ATTN."""
    return f"{network.rpartition('_attn')[0]}_attn0"


@dataclass(frozen=True)
class PaperTable:
    """A results table of the paper: its chains, and what its improvements are taken against."""

    number: int
    title: str
    chains: tuple[str, ...]
    against: Literal["plain network", "no transfer"]

    def reference(self, cell: Cell) -> Cell:
        """Return the cell that a cell's improvement is taken against."""
        network, chain = cell
        return (plain(network), chain) if self.against == "plain network" else (network, NO_TRANSFER)


TABLES = (
    PaperTable(2, "Networks after the whole chain", (WHOLE_CHAIN,), "plain network"),
    PaperTable(4, "The whole chain against no transfer", (NO_TRANSFER, WHOLE_CHAIN), "no transfer"),
    PaperTable(5, "Natural and medical pretraining alone", (NO_TRANSFER, "stl_n", "none-stl_m"), "no transfer"),
)


@cache
def printed() -> pd.DataFrame:
    """Return the printed cells of Tables 2–5.

    Columns: ``table, network, chain, metric, value, gain``; ``gain`` is the printed improvement, NaN where none is.
    Networks are ``resnet<depth>_attn<number>``.
    """
    raw = pd.concat(pd.read_csv(PAPER / f"mstl_table{number}.csv").assign(table=number) for number in (2, 3, 4, 5))
    raw["network"] = [
        f"{network}{depth}_attn{_ATTENTION[variant]}"
        for network, depth, variant in raw[["network", "depth", "variant"]].itertuples(index=False)
    ]
    raw["chain"] = raw["setting"].map(_CHAINS)
    raw["part"] = np.where(raw["metric"].str.endswith("_improvement"), "gain", "value")
    raw["metric"] = raw["metric"].str.removesuffix("_improvement").map(_METRICS)
    wide = raw.pivot(index=["table", "network", "chain", "metric"], columns="part", values="value") / 100
    return (
        wide.round(4).reset_index()[["table", "network", "chain", "metric", "value", "gain"]].rename_axis(None, axis=1)
    )


def arithmetic_errors() -> pd.DataFrame:
    """Return printed improvements that are not the difference of the printed values, by half a printed digit or more.

    Columns of :func:`printed` and ``difference``, what the printed values give.
    """
    cells = printed().dropna(subset="gain")
    value = cells.set_index(["table", "network", "chain", "metric"])["value"]
    tables = {table.number: table for table in TABLES}
    before = [
        value[row.table, *tables[row.table].reference((row.network, row.chain)), row.metric]
        for row in cells.itertuples()
    ]
    cells = cells.assign(difference=(cells["value"] - before).round(4))
    return cells[(cells["gain"] - cells["difference"]).abs() > 0.0005].reset_index(drop=True)


@dataclass(frozen=True)
class Claim:
    """A claim of the paper and how it is computed.

    Attributes:
        key: short name.
        statement: the claim in one sentence.
        source: where the paper prints it.
        how: the computation in words.
        contrasts: networks → contrasts of cells whose mean must be above zero.
        attention: it compares networks with ATTN to others, so that inactive ATTN layers make it empty.
    """

    key: str
    statement: str
    source: str
    how: str
    contrasts: Callable[[Sequence[str]], list[Contrast]]
    attention: bool = False


@dataclass(frozen=True)
class Judgement:
    """Verdict on a claim: the estimate with its interval, the paper's value of the same contrast, and the reason.

    ``estimate``, ``low``, ``high`` and ``paper`` are None where they do not exist.
    """

    claim: Claim
    verdict: Verdict
    reason: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    paper: float | None = None


def difference(first: Mapping[Cell, float], second: Mapping[Cell, float]) -> Contrast:
    """Return the contrast ``first − second``."""
    return {cell: first.get(cell, 0.0) - second.get(cell, 0.0) for cell in {**first, **second}}


def mean_contrast(contrasts: Sequence[Contrast]) -> Contrast:
    """Return the mean of contrasts."""
    cells = {cell: None for contrast in contrasts for cell in contrast}
    return {cell: sum(contrast.get(cell, 0.0) for contrast in contrasts) / len(contrasts) for cell in cells}


def combine(contrast: Contrast, samples: Mapping[Cell, Sample]) -> Sample:
    """Return the contrast of samples that share their seeds and patient resamples, hence a paired comparison."""
    points = sum(weight * samples[cell].points for cell, weight in contrast.items())
    values = sum(weight * samples[cell].values for cell, weight in contrast.items())
    reason = next((samples[cell].reason for cell in contrast if samples[cell].reason), "")
    return Sample(np.asarray(points), np.asarray(values), reason)


def attention_pairs(networks: Sequence[str]) -> list[tuple[str, str]]:
    """Return (network with ATTN, the same backbone without) for all networks that have such a partner."""
    return [(name, plain(name)) for name in networks if attention_layers(name) and plain(name) in networks]


def judge(
    claim: Claim,
    samples: Mapping[Cell, Sample],
    *,
    networks: Sequence[str],
    inactive: Collection[Cell] = (),
    level: float = 0.95,
    seed: int = 0,
) -> Judgement:
    """Judge a claim on AUROC samples of the test images.

    It holds when the whole interval (seeds × patients from two seeds on, else patients) lies above zero, does not hold
    when it lies below or at zero, and is not decidable when the interval holds zero, a cell was not run, or all that
    is compared is an ATTN layer that changes nothing.

    Args:
        claim: what to judge.
        samples: AUROC of every cell that was run; same seeds, same patient resamples.
        networks: networks of the study.
        inactive: cells whose ATTN layers change no prediction.
        level: coverage of the interval.
        seed: of the resampling of seeds.
    """
    contrasts = claim.contrasts(networks)
    if not contrasts:
        return Judgement(claim, "not decidable", "the study has no pair of networks with and without ATTN")
    contrast = mean_contrast(contrasts)
    paper = _paper_value(contrast)
    missing = sorted({chain for _, chain in contrast.keys() - samples.keys()})
    if missing:
        return Judgement(claim, "not decidable", f"not run: {', '.join(missing)}", paper=paper)
    found = summarise(combine(contrast, samples), level=level, seed=seed)
    low, high = found.get("low_seeds", found["low"]), found.get("high_seeds", found["high"])
    verdict, reason = _verdict(low, high, found.get("reason", ""))
    empty = sorted({network for network, chain in contrast if (network, chain) in inactive})
    if claim.attention and empty:
        verdict, reason = "not decidable", f"attention is inactive in {', '.join(empty)}"
    return Judgement(claim, verdict, reason, found["mean"], low, high, paper)


def _verdict(low: float | None, high: float | None, reason: str) -> tuple[Verdict, str]:
    if low is None or high is None:
        return "not decidable", reason
    if low > 0:
        return "holds", "the whole interval lies above zero"
    return (
        ("does not hold", "no part of the interval lies above zero")
        if high <= 0
        else ("not decidable", "the interval holds zero")
    )


def _paper_value(contrast: Contrast) -> float | None:
    cells = printed().query("metric == 'auroc'").drop_duplicates(["network", "chain"])
    values = dict(zip(zip(cells["network"], cells["chain"], strict=True), cells["value"], strict=True))
    if contrast.keys() - values.keys():
        return None
    return round(float(sum(weight * values[cell] for cell, weight in contrast.items())), 4)


def _gain(network: str, chain: str) -> Contrast:
    return {(network, chain): 1.0, (network, NO_TRANSFER): -1.0}


def _gains(chain: str) -> Callable[[Sequence[str]], list[Contrast]]:
    return lambda networks: [_gain(network, chain) for network in networks]


def _larger_gains(chain: str) -> Callable[[Sequence[str]], list[Contrast]]:
    return lambda networks: [
        difference(_gain(network, chain), _gain(base, chain)) for network, base in attention_pairs(networks)
    ]


def _attention_better(networks: Sequence[str]) -> list[Contrast]:
    return [difference({(a, WHOLE_CHAIN): 1.0}, {(b, WHOLE_CHAIN): 1.0}) for a, b in attention_pairs(networks)]


def _better_than(method: str) -> Callable[[Sequence[str]], list[Contrast]]:
    other = f"stl_n-stl_m-{method}"
    return lambda networks: [{(network, WHOLE_CHAIN): 1.0, (network, other): -1.0} for network in networks]


_GAIN = "mean over networks of AUROC {} − AUROC without transfer"
_MORE = "mean over backbones of (gain of the network with ATTN) − (gain of the plain one), gain = AUROC {} − without"

CLAIMS = (
    Claim(
        "transfer_helps",
        "Networks are better after the whole chain than without transfer.",
        "Table 4",
        _GAIN.format("after the whole chain"),
        _gains(WHOLE_CHAIN),
    ),
    Claim("stl_n_helps", "STL-N alone helps.", "Table 5", _GAIN.format("after STL-N alone"), _gains("stl_n")),
    Claim("stl_m_helps", "STL-M alone helps.", "Table 5", _GAIN.format("after STL-M alone"), _gains("none-stl_m")),
    Claim(
        "attention_is_better",
        "After the whole chain, networks with ATTN are better than plain ones.",
        "Table 2",
        "mean over backbones of AUROC with ATTN − AUROC without ATTN, both after the whole chain",
        _attention_better,
        attention=True,
    ),
    Claim(
        "attention_gains_more",
        "Networks with ATTN gain more from the whole chain than plain ones.",
        "Table 4",
        _MORE.format("after the whole chain"),
        _larger_gains(WHOLE_CHAIN),
        attention=True,
    ),
    Claim(
        "attention_gains_more_stl_n",
        "Networks with ATTN gain more from STL-N than plain ones.",
        "Table 5",
        _MORE.format("after STL-N alone"),
        _larger_gains("stl_n"),
        attention=True,
    ),
    Claim(
        "attention_gains_more_stl_m",
        "Networks with ATTN gain more from STL-M than plain ones.",
        "Table 5",
        _MORE.format("after STL-M alone"),
        _larger_gains("none-stl_m"),
        attention=True,
    ),
    *(
        Claim(
            f"lobes_beat_{method}",
            f"Lobe-aware self-supervision is better than {title}.",
            "Table 3",
            f"mean over networks of AUROC after the whole chain − AUROC after the chain with {title} as its last stage",
            _better_than(method),
        )
        for method, title in (("moco", "MoCo"), ("simclr", "SimCLR"))
    ),
)
