"""What Liu & Ji 2021 claim, and the verdict of one's own predictions on each claim.

Claims are linear contrasts of cells (network, chain), so the same arithmetic gives the paper's value and ours.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from medtransfer.evaluation.contrasts import Verdict, difference, mean_contrast
from medtransfer.evaluation.contrasts import judge as judge_contrast
from medtransfer.evaluation.summary import Sample
from medtransfer.studies.attentive_transfer.paper.values import (
    NO_TRANSFER,
    WHOLE_CHAIN,
    Cell,
    attention_layers,
    plain,
    printed,
)

Contrast = dict[Cell, float]
"""Weight of every cell."""


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

    ``estimate``, ``low``, ``high`` and ``paper`` are None where they do not exist. Where cells are the reason,
    ``reason`` is empty: ``absent`` holds the chains that were not run, or ``idle`` the cells with inactive attention.
    """

    claim: Claim
    verdict: Verdict
    reason: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    paper: float | None = None
    absent: tuple[str, ...] = ()
    idle: tuple[Cell, ...] = ()


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
    absent = tuple(sorted({chain for _, chain in contrast.keys() - samples.keys()}))
    if absent:
        return Judgement(claim, "not decidable", "", paper=paper, absent=absent)
    found = judge_contrast(contrast, samples, level=level, seed=seed)
    values = (found.estimate, found.low, found.high, paper)
    idle = tuple(sorted(contrast.keys() & set(inactive))) if claim.attention else ()
    if idle:
        return Judgement(claim, "not decidable", "", *values, idle=idle)
    return Judgement(claim, found.verdict, found.reason, *values)


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
