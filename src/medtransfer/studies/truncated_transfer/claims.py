"""The claims of Peng et al. 2021, and the verdict on each claim from our predictions.

Claims are linear contrasts of cells with paired intervals; *at least as good* means not worse by ``MARGIN``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations

import pandas as pd

from medtransfer.evaluation.cells import Cell, Cells, EvaluationConfig, Key, measure
from medtransfer.evaluation.claims import (
    ONE_SEED,
    ROUNDING,
    Claim,
    Contrast,
    Judged,
    Judgement,
    Verdict,
    combine,
    difference,
    judge,
    mean_contrast,
)
from medtransfer.evaluation.summary import LEVEL, NO_IDS, Sample
from medtransfer.models.classifier import NetworkConfig
from medtransfer.models.slim import SlimConfig
from medtransfer.studies.truncated_transfer.config import Condition, TruncatedTransferConfig
from medtransfer.studies.truncated_transfer.paper.values import network_title

METRICS = ("auroc", "auprc")
DECIDING = "auprc"
MARGIN = 0.02
"""Loss that counts as none: about the largest sd over repeats that the paper gives for CheXpert, 0.017."""


@dataclass(frozen=True)
class Ties:
    """Claim c for one condition: how many ties in one metric the other metric breaks, over the pairs of variants.

    Attributes:
        condition: name of the condition.
        pairs: pairs of variants that were compared.
        tied_auroc: pairs whose AUROC interval includes zero.
        broken_by_auprc: of these, pairs that AUPRC :func:`separates`, Bonferroni-corrected for their number.
        tied_auprc: the same with the metrics exchanged.
        broken_by_auroc: the same with the metrics exchanged.
        judgement: the verdict, without an estimate.
    """

    condition: str
    pairs: int
    tied_auroc: int
    broken_by_auprc: int
    tied_auprc: int
    broken_by_auroc: int
    judgement: Judgement

    @property
    def judged(self) -> Judged:
        """Claim c for this condition, with its judgement."""
        claim = Claim(
            key="c",
            statement="(c) AUPRC separates what AUROC ties.",
            source="Fig. 2, 7",
            how="ties in one metric that the other metric breaks, in both directions",
            contrast={},
            setting=self.condition,
        )
        return claim, dict.fromkeys(METRICS, self.judgement)


def measure_cells(
    table: pd.DataFrame, config: TruncatedTransferConfig, evaluation: EvaluationConfig
) -> dict[Key, Cell]:
    """Measure every variant under every condition on its test rows; for several findings, their mean.

    The mean is over findings whose known test images are of both classes, as on validation images. If a regime sets
    the balance of test images, they are weighted to it (``evaluation.intervals.at_balance``).

    Raises:
        DataError: the table is not valid, or a seed lacks an image.
    """
    keys = [(variant, condition) for condition in config.conditions() for variant in config.variants]
    ratios = {(v, c.name): ratio for v, c in keys if (ratio := config.neg_pos_ratio(c)) is not None}
    plain = evaluation.model_copy(update={"threshold": "half"})  # no metric here needs a threshold
    cells = measure(table, plain, splits=("test",), metrics=METRICS, neg_pos_ratio=ratios)
    measured = {cell.key: replace(cell, samples=cell.mean_over(cell.two_class)) for cell in cells}
    return {key: measured[key] for v, c in keys if (key := (v, c.name)) in measured}


def claims(config: TruncatedTransferConfig) -> list[Claim]:
    """Return the claims a and b that the study's variants and regimes can decide, by task and protocol."""
    result: list[Claim] = []
    for condition in config.conditions():
        result += [_transfer_helps(config, condition), *_cuts(config, condition), *_transfusions(config, condition)]
    for task in config.tasks:
        plain = [name for name in config.regimes_of(task) if not config.regimes[name].neg_pos_ratio]
        if len(plain) > 1:
            most, *_, fewest = sorted(plain, key=lambda name: -config.regimes[name].share)
            result += [
                _few_data(config, Condition(task, most, p), Condition(task, fewest, p)) for p in config.protocols
            ]
    return result


def judge_claim(claim: Claim, cells: Cells) -> dict[str, Judgement]:
    """Return the judgement of a claim by metric; the metric ``DECIDING`` decides."""
    once = left_out(variant for variant, _ in claim.contrast)
    return {metric: replace(judge(claim, cells, metric), left_out=once) for metric in METRICS}


def left_out(variants: Iterable[str]) -> str:
    """Return which chance the interval of variants does not include: all pretrained ones start from one network."""
    pretrained = any(not variant.endswith("-random") for variant in variants)
    return "pretrained once: chance in pretraining is not in the interval" if pretrained else ""


def judge_ties(cells: Cells, condition: str, *, level: float = LEVEL) -> Ties:
    """Judge claim c on all pairs of variants under a condition.

    It holds when AUPRC breaks more ties in AUROC than AUROC breaks in AUPRC, and does not hold when it breaks fewer.
    Equal numbers decide nothing; with none on both sides the images may be too few, or the networks equal.
    """
    pairs = [{a: 1.0, b: -1.0} for a, b in combinations(sorted(key for key in cells if key[1] == condition), 2)]
    tied, broken = _broken(pairs, cells, "auroc", "auprc", level=level)
    tied_back, broken_back = _broken(pairs, cells, "auprc", "auroc", level=level)
    own = [cell for key, cell in cells.items() if key[1] == condition]
    if not pairs:
        judgement = Judgement("not decidable", "nothing to compare was run")
    elif any(cell.patient_count is None for cell in own):
        judgement = Judgement("not decidable", NO_IDS)
    elif any(len(cell.seeds) == 1 for cell in own):
        judgement = Judgement("not decidable", ONE_SEED)
    elif not tied:
        judgement = Judgement("not decidable", "no two variants tie in AUROC")
    else:
        more = broken - broken_back
        verdict: Verdict = "holds" if more > 0 else "does not hold" if more < 0 else "not decidable"
        reason = f"AUPRC breaks {broken} of {tied} ties in AUROC, AUROC {broken_back} of {tied_back} ties in AUPRC"
        judgement = Judgement(verdict, reason)
    judgement = replace(judgement, left_out=left_out(variant for pair in pairs for variant, _ in pair))
    return Ties(condition, len(pairs), tied, broken, tied_back, broken_back, judgement)


def separates(one: Sample, *, level: float) -> bool:
    """Return whether the interval of a difference over patients and seeds excludes zero.

    An interval without width separates nothing. At a level corrected for many ties, percentiles would depend on the one
    or two most extreme resamples; the variance depends on all of them.
    """
    mean = float(one.points.mean())
    reach = one.chance().reach(1 - level, up=mean < 0)
    return not one.no_interval and reach > ROUNDING and abs(mean) > reach


def _broken(
    pairs: list[dict[Key, float]], cells: Cells, tied_in: str, broken_by: str, *, level: float
) -> tuple[int, int]:
    """Count the pairs that one metric ties and, of these, the pairs that the other separates at a corrected level."""
    tied = [pair for pair in pairs if _ties(pair, cells, tied_in, level=level)]
    corrected = 1 - (1 - level) / max(len(tied), 1)
    return len(tied), sum(separates(combine(pair, cells, broken_by), level=corrected) for pair in tied)


def _ties(pair: Contrast, cells: Cells, metric: str, *, level: float) -> bool:
    """Return whether the interval of a difference exists and includes zero."""
    claim = Claim(key="", statement="", source="", how="", contrast=pair)
    judgement = judge(claim, cells, metric, level=level)
    return judgement.low is not None and judgement.high is not None and judgement.low <= 0 <= judgement.high


def _pair(first: str, second: str, condition: Condition) -> dict[Key, float]:
    return {(first, condition.name): 1.0, (second, condition.name): -1.0}


def _gains(config: TruncatedTransferConfig, condition: Condition) -> list[dict[Key, float]]:
    """Return transfer − random initialisation for every network that is trained both ways."""
    names = [config.variant(variant).network for variant in config.variants if variant.endswith("-transfer")]
    both = [name for name in names if f"{name}-random" in config.variants]
    return [_pair(f"{name}-transfer", f"{name}-random", condition) for name in both]


def _transfer_helps(config: TruncatedTransferConfig, condition: Condition) -> Claim:
    return Claim(
        key="a1",
        statement="(a) Transfer is at least as good as random initialisation.",
        source="Fig. 3, 4",
        how="mean over networks of transfer − random initialisation",
        contrast=mean_contrast(_gains(config, condition)),
        margin=MARGIN,
        setting=condition.name,
    )


def _few_data(config: TruncatedTransferConfig, most: Condition, fewest: Condition) -> Claim:
    gains = zip(_gains(config, fewest), _gains(config, most), strict=True)
    return Claim(
        key="a2",
        statement="(a) Transfer gains more with few data.",
        source="Fig. 3",
        how=f"mean over networks of (gain with {fewest.regime}) − (gain with {most.regime}), gain = transfer − random",
        contrast=mean_contrast([difference(few, all_) for few, all_ in gains]),
        setting=fewest.name,
    )


def _cuts(config: TruncatedTransferConfig, condition: Condition) -> list[Claim]:
    """Return one claim per cut, so that no cut is chosen by looking at test images."""
    result = []
    for variant in config.variants:
        structure, whole = config.structure(variant), f"{config.backbone(variant)}-transfer"
        cut = isinstance(structure, NetworkConfig) and structure.cut
        if cut and variant.endswith("-transfer") and whole in config.variants:
            title = network_title(config.variant(variant).network)
            result.append(
                Claim(
                    key="b",
                    statement=f"(b) {title} is at least as good as the whole network, both with transfer.",
                    source="Fig. 5, 6, 7",
                    how="cut network − whole network",
                    contrast=_pair(variant, whole, condition),
                    margin=MARGIN,
                    setting=condition.name,
                )
            )
    return result


def _transfusions(config: TruncatedTransferConfig, condition: Condition) -> list[Claim]:
    """Return truncated transfer against transfusion with the same pretrained blocks."""
    result = []
    for variant in config.variants:
        slim = config.structure(variant)
        if not isinstance(slim, SlimConfig) or not variant.endswith("-transfusion"):
            continue
        cut, block = f"{slim.backbone}_t{slim.after}-transfer", f"block {slim.after}"
        if cut in config.variants:
            result.append(
                Claim(
                    key="b_transfusion",
                    statement=f"(b) Cut after {block} is at least as good as transfusion up to {block}.",
                    source="Fig. 6",
                    how="cut network with transfer − slim network with transfusion",
                    contrast=_pair(cut, variant, condition),
                    margin=MARGIN,
                    setting=condition.name,
                )
            )
    return result
