"""The claims of Liu & Ji 2021, and the verdict on each claim from our predictions.

Claims are linear contrasts of cells (network, chain), so the same arithmetic gives the paper's value and ours.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import cache

from medtransfer.evaluation.cells import Cells, Key
from medtransfer.evaluation.claims import Claim, Contrast, Judgement, difference, judge, mean_contrast
from medtransfer.evaluation.pairs import Pair
from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig
from medtransfer.studies.attentive_transfer.paper.values import NO_TRANSFER, WHOLE_CHAIN, printed
from medtransfer.studies.attentive_transfer.titles import (
    attention_layers,
    chain_title,
    control,
    has_warm_up,
    is_control,
    network_title,
    plain,
    without_warm_up,
)

ABOUT_ATTENTION = "attention_"
"""Prefix of the keys of claims that compare networks with ATTN to others; inactive layers void them."""
OWN = "not in the paper"
"""Source of the claims that are ours."""


def attention_pairs(networks: Sequence[str]) -> list[tuple[str, str]]:
    """Return (network with ATTN, same backbone without) for all networks with ATTN that have such a partner."""
    return [(name, plain(name)) for name in networks if attention_layers(name) and plain(name) in networks]


def claims(networks: Sequence[str], compared: Collection[Key] = ()) -> list[Claim]:
    """Return the claims of the paper over the networks of a study, and ours on a warm-up; all of the kind *better*.

    Args:
        networks: the study's networks. The paper has no control: its claims leave controls out.
        compared: every network after every chain of its own.
    """
    return [*_of_the_paper([name for name in networks if not is_control(name)]), *_on_warm_up(compared)]


def warmed_pairs(compared: Collection[Key], chain: str) -> dict[str, list[Pair]]:
    """Return what networks are compared with after a chain with a warm-up, by the question asked.

    ``plain``: ATTN against the same backbone without inserted layers and so without a warm-up; ``control``: ATTN
    against as many parameters in convolutions, trained alike; ``training``: that control against the plain network;
    ``warm_up``: ATTN against itself without a warm-up.
    """
    before = without_warm_up(chain)
    attention = [name for name, of in compared if of == chain and attention_layers(name)]
    pairs = {
        "plain": [((name, chain), (plain(name), before)) for name in attention],
        "control": [((name, chain), (control(name), chain)) for name in attention],
        "training": [((control(name), chain), (plain(name), before)) for name in attention],
        "warm_up": [((name, chain), (name, before)) for name in attention],
    }
    return {question: [pair for pair in of if set(pair) <= set(compared)] for question, of in pairs.items()}


def _on_warm_up(compared: Collection[Key]) -> list[Claim]:
    """Return our claims on every chain with a warm-up, as far as the study has the networks to compare."""
    rows = []
    for chain in dict.fromkeys(chain for _, chain in compared if has_warm_up(chain)):
        after, before = chain_title(chain), chain_title(without_warm_up(chain))
        statements = {
            "plain": f"Networks with ATTN after {after} are better than plain ones after {before}.",
            "control": f"After {after}, networks with ATTN are better than their control.",
            "training": f"The control after {after} is better than plain networks after {before}.",
            "warm_up": f"Networks with ATTN are better after {after} than after {before}.",
        }
        for question, pairs in warmed_pairs(compared, chain).items():
            prefix = ABOUT_ATTENTION if question in ("plain", "control") else ""
            contrast = mean_contrast([{first: 1.0, second: -1.0} for first, second in pairs])
            rows.append(
                Claim(
                    key=f"{prefix}{question}_after_{chain}",
                    statement=statements[question],
                    source=OWN,
                    how="mean over backbones of the difference in AUROC",
                    contrast=contrast,
                )
            )
    return [claim for claim in rows if claim.contrast]


def _of_the_paper(networks: Sequence[str]) -> list[Claim]:
    after = {WHOLE_CHAIN: "the whole chain", "stl_n": "STL-N", "none-stl_m": "STL-M"}
    return [
        _better(networks, "transfer_helps", "Networks are better after the whole chain than without transfer.", "4"),
        _better(networks, "stl_n_helps", "STL-N alone helps.", "5", "stl_n"),
        _better(networks, "stl_m_helps", "STL-M alone helps.", "5", "none-stl_m"),
        _about_attention(
            networks,
            "is_better",
            "After the whole chain, networks with ATTN are better than plain ones.",
            "2",
            "mean over backbones of AUROC with ATTN − AUROC without ATTN, both after the whole chain",
        ),
        *(
            _about_attention(
                networks,
                f"gains_more{'' if chain == WHOLE_CHAIN else '_' + chain.removeprefix('none-')}",
                f"Networks with ATTN gain more from {title} than plain ones.",
                "4" if chain == WHOLE_CHAIN else "5",
                "mean over backbones of (gain of the network with ATTN) − (gain of the plain one), gain = AUROC after "
                f"{title}{'' if chain == WHOLE_CHAIN else ' alone'} − without",
                chain,
            )
            for chain, title in after.items()
        ),
        *(_lobes_beat(networks, method, title) for method, title in (("moco", "MoCo"), ("simclr", "SimCLR"))),
    ]


def judge_claim(claim: Claim, cells: Cells, *, inactive: Collection[Key] = ()) -> Judgement:
    """Judge a claim by the AUROC on the test images.

    Args:
        claim: what to judge.
        cells: the cells that were run.
        inactive: cells whose inserted layers do not change any prediction.
    """
    reasons = {
        (n, c): f"{'inserted layers are' if is_control(n) else 'attention is'} inactive in {network_title(n)} "
        f"({chain_title(c)})"
        for n, c in inactive
    }
    return judge(
        claim,
        cells,
        "auroc",
        title=lambda key: chain_title(key[1]),
        excluded=reasons if claim.key.startswith(ABOUT_ATTENTION) else {},
        paper=printed_auroc(),
    )


def left_out(config: AttentiveTransferConfig, claim: Claim) -> str:
    """Return which chance in pretraining the interval of a claim does not include; empty if there is none."""
    return not_in_interval(config, [chain for _, chain in claim.contrast])


def not_in_interval(config: AttentiveTransferConfig, chains: Iterable[str]) -> str:
    """Return which chance in pretraining no interval over the seeds of these chains includes; empty if there is none.

    Fine-tuning seed number i starts from pretraining seed number i modulo their count; ready-made weights of STL-N were
    trained once.
    """
    pretrained = [chain for chain in chains if chain != NO_TRANSFER]
    runs = len(config.pretrain_seeds)
    if not pretrained:
        return ""
    if runs == 1:
        return "pretrained once: chance in pretraining is not in the interval"
    if any(chain.startswith("stl_n") for chain in pretrained) and config.start.kind != "train":
        return "STL-N trained once: its chance is not in the interval"
    if runs < len(config.seeds):
        return f"{runs} pretraining runs for {len(config.seeds)} seeds: the interval includes their chance in part"
    return ""


@cache
def printed_auroc() -> dict[Key, float]:
    """Return the printed AUROC by (network, chain)."""
    values = printed().query("metric == 'auroc'").drop_duplicates(["network", "chain"])
    return dict(zip(zip(values["network"], values["chain"], strict=True), values["value"], strict=True))


def _gain(network: str, chain: str, other: str = NO_TRANSFER) -> dict[Key, float]:
    return {(network, chain): 1.0, (network, other): -1.0}


def _better(networks: Sequence[str], key: str, statement: str, table: str, chain: str = WHOLE_CHAIN) -> Claim:
    after = {"stl_n": "after STL-N alone", "none-stl_m": "after STL-M alone"}.get(chain, "after the whole chain")
    return Claim(
        key=key,
        statement=statement,
        source=f"Table {table}",
        how=f"mean over networks of AUROC {after} − AUROC without transfer",
        contrast=mean_contrast([_gain(network, chain) for network in networks]),
    )


def _about_attention(
    networks: Sequence[str], key: str, statement: str, table: str, how: str, gain_of: str | None = None
) -> Claim:
    """Compare networks with ATTN to plain ones: after the whole chain, or in their gain from a chain."""
    pairs: list[Contrast] = [
        {(a, WHOLE_CHAIN): 1.0, (b, WHOLE_CHAIN): -1.0}
        if gain_of is None
        else difference(_gain(a, gain_of), _gain(b, gain_of))
        for a, b in attention_pairs(networks)
    ]
    return Claim(
        key=ABOUT_ATTENTION + key,
        statement=statement,
        source=f"Table {table}",
        how=how,
        contrast=mean_contrast(pairs),
        unanswered="the study has no pair of networks with and without ATTN",
    )


def _lobes_beat(networks: Sequence[str], method: str, title: str) -> Claim:
    return Claim(
        key=f"lobes_beat_{method}",
        statement=f"Lobe-aware self-supervision is better than {title}.",
        source="Table 3",
        how=f"mean over networks of AUROC after the whole chain − AUROC after the chain with {title} as its last stage",
        contrast=mean_contrast([_gain(network, WHOLE_CHAIN, f"stl_n-stl_m-{method}") for network in networks]),
    )
