"""What Peng et al. 2021 claim, and the verdict of one's own predictions on each claim.

Claims are linear contrasts of (variant, condition) with paired intervals; *at least as good* means not
worse by ``MARGIN``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np
import pandas as pd

from medtransfer.evaluation.contrasts import Judged, Verdict, combine, difference, judge, mean_contrast
from medtransfer.evaluation.predictions import validate_predictions
from medtransfer.evaluation.scorecard import EvaluationConfig, Fits, align
from medtransfer.evaluation.summary import Sample, average, drawn_means, sample
from medtransfer.models.classifier import NetworkConfig
from medtransfer.models.slim import SlimConfig
from medtransfer.studies.truncated_transfer.config import Condition, TruncatedTransferConfig
from medtransfer.studies.truncated_transfer.paper.values import network_title

METRICS = ("auroc", "auprc")
MARGIN = 0.02
"""Loss that counts as none: about the largest sd over repeats that the paper states for CheXpert, 0.017."""

Key = tuple[str, Condition]
"""(variant, condition)"""
Measured = dict[str, dict[Key, Sample]]
"""Metric → (variant, condition) → its values on the test images; of a multi-label task the mean over findings."""
Contrast = dict[Key, float]


@dataclass(frozen=True)
class Claim:
    """One claim about one task under one protocol.

    Attributes:
        key: ``a1``, ``a2``, ``b`` or ``b_transfusion``.
        statement: the claim in one sentence.
        source: where the paper makes it.
        how: the computation in words.
        condition: task, regime and protocol that it speaks of.
        contrast: weights of variants; empty where the study has no such variants.
        margin: loss that counts as none.
    """

    key: str
    statement: str
    source: str
    how: str
    condition: Condition
    contrast: Contrast
    margin: float


@dataclass(frozen=True)
class Ties:
    """Claim c of one condition: how many ties of one metric the other breaks, and the pairs of variants.

    Attributes:
        condition: task, regime and protocol.
        pairs: pairs of variants that were compared.
        tied_auroc: pairs whose AUROC interval holds zero.
        broken_by_auprc: of these, pairs that AUPRC :func:`separates`, Bonferroni-corrected for their number.
        tied_auprc: the same with the metrics exchanged.
        broken_by_auroc: the same with the metrics exchanged.
        judged: the verdict, without an estimate.
    """

    condition: Condition
    pairs: int
    tied_auroc: int
    broken_by_auprc: int
    tied_auprc: int
    broken_by_auroc: int
    judged: Judged


def measure(predictions: pd.DataFrame, config: TruncatedTransferConfig, settings: EvaluationConfig) -> Measured:
    """Measure every (variant, condition) of a predictions table on its test rows; resamples are shared within a task.

    Where a regime sets the balance of test images, they are weighted to it (``evaluation.intervals.at_balance``).

    Raises:
        DataError: the table is not valid, or a seed lacks an image.
    """
    table = validate_predictions(predictions)
    parts = dict(tuple(table[table["split"] == "test"].groupby("variant")))
    measured: Measured = {metric: {} for metric in METRICS}
    for variant in config.variants:
        for condition in config.conditions():
            rows = parts.get(f"{variant}-{condition.name}")
            if rows is not None:
                for metric, found in _measure_rows(rows, settings, config.neg_pos_ratio(condition)).items():
                    measured[metric][variant, condition] = found
    return measured


def measured_outputs(fits: Fits) -> list[int]:
    """Return the positions of the outputs that a mean over findings is of, as on validation images.

    Those whose known images are of both classes; all where there is none, so that the mean is undefined too.
    """
    classes = [np.unique(target[~np.isnan(target)]) for target in fits.target.T]
    return [c for c, found in enumerate(classes) if len(found) == 2] or list(range(len(classes)))


def claims(config: TruncatedTransferConfig) -> list[Claim]:
    """Return the claims a and b that the study's variants and regimes can answer, by task and protocol."""
    found: list[Claim] = []
    for condition in config.conditions():
        found += [_transfer_helps(config, condition), *_cuts(config, condition), *_transfusions(config, condition)]
    for task in config.tasks:
        plain = [name for name in config.regimes_of(task) if not config.regimes[name].negatives]
        if len(plain) > 1:
            ordered = sorted(plain, key=lambda name: -config.regimes[name].share)
            ends = [(Condition(task, ordered[0], p), Condition(task, ordered[-1], p)) for p in config.protocols]
            found += [_few_data(config, most, fewest) for most, fewest in ends]
    return found


def judge_claim(claim: Claim, measured: Measured, *, level: float, seed: int = 0) -> dict[str, Judged]:
    """Return the verdict on a claim by metric; AUPRC decides, AUROC stands beside it."""
    return {
        metric: judge(claim.contrast, measured[metric], margin=claim.margin, level=level, seed=seed)
        for metric in METRICS
    }


def judge_ties(measured: Measured, condition: Condition, *, level: float, seed: int = 0) -> Ties:
    """Judge claim c on all pairs of variants of a condition.

    It holds when AUPRC breaks more ties of AUROC than AUROC breaks of AUPRC's, and does not hold when it breaks as many
    or fewer. Where neither breaks any, too few images show as much as equal networks do: that decides nothing.
    """
    variants = sorted(variant for variant, other in measured["auprc"] if other == condition)
    pairs = [{(a, condition): 1.0, (b, condition): -1.0} for a, b in combinations(variants, 2)]
    counts = {
        (first, second): _broken(pairs, measured[first], measured[second], level=level, seed=seed)
        for first, second in (METRICS, METRICS[::-1])
    }
    (tied, broken), (tied_back, broken_back) = counts[METRICS], counts[METRICS[::-1]]
    if not tied:
        judged = Judged("not decidable", "no two variants tie in AUROC")
    else:
        verdict: Verdict = "holds" if broken > broken_back else "does not hold" if broken_back else "not decidable"
        reason = f"AUPRC breaks {broken} of {tied} ties of AUROC, AUROC {broken_back} of {tied_back} ties of AUPRC"
        judged = Judged(verdict, reason)
    return Ties(condition, len(pairs), tied, broken, tied_back, broken_back, judged)


def _broken(
    pairs: list[Contrast], tied_in: Mapping[Key, Sample], broken_by: Mapping[Key, Sample], *, level: float, seed: int
) -> tuple[int, int]:
    """Count pairs that one metric ties and, of these, pairs that the other separates at a corrected level."""
    tied = [pair for pair in pairs if not _separated(pair, tied_in, level, seed)]
    corrected = 1 - (1 - level) / max(len(tied), 1)
    return len(tied), sum(separates(combine(pair, broken_by), level=corrected, seed=seed) for pair in tied)


def separates(one: Sample, *, level: float, seed: int = 0) -> bool:
    """Return whether the normal interval of a difference, its sd that of the resampled differences, is off zero.

    Corrected for many ties, a level lies so far out that percentiles would rest on the one or two most extreme
    resamples; the sd rests on all of them.
    """
    far = NormalDist().inv_cdf((1 + level) / 2) * float(np.nanstd(drawn_means(one, seed=seed)))
    return abs(float(one.points.mean())) > far


def _separated(pair: Contrast, samples: Mapping[Key, Sample], level: float, seed: int) -> bool:
    found = judge(pair, samples, level=level, seed=seed)
    return found.low is not None and found.high is not None and (found.low > 0 or found.high < 0)


def _measure_rows(rows: pd.DataFrame, settings: EvaluationConfig, negatives: float | None) -> dict[str, Sample]:
    fits = align(rows, sorted(set(rows["output"])))
    parts = []
    for column in measured_outputs(fits):
        known = ~np.isnan(fits.target[:, column])
        parts.append(
            sample(
                METRICS,
                fits.target[known, column],
                fits.scores[:, known, column],
                fits.patients[known],
                thresholds=[0.5] * len(fits.seeds),
                population=fits.patients,
                draws=settings.draws,
                seed=settings.seed,
                negatives=negatives,
            )
        )
    return {metric: average([part[metric] for part in parts]) for metric in METRICS}


def _gain(network: str, condition: Condition) -> Contrast:
    return {(f"{network}-transfer", condition): 1.0, (f"{network}-random", condition): -1.0}


def _paired_networks(config: TruncatedTransferConfig) -> list[str]:
    """Networks that are trained both with and without transfer."""
    names = [config.variant(variant).network for variant in config.variants if variant.endswith("-transfer")]
    return [name for name in names if f"{name}-random" in config.variants]


def _mean(contrasts: list[Contrast]) -> Contrast:
    return mean_contrast(contrasts) if contrasts else {}


def _transfer_helps(config: TruncatedTransferConfig, condition: Condition) -> Claim:
    return Claim(
        "a1",
        "Transfer is at least as good as random initialisation.",
        "Fig. 3, 4",
        "mean over networks of transfer − random initialisation",
        condition,
        _mean([_gain(network, condition) for network in _paired_networks(config)]),
        MARGIN,
    )


def _few_data(config: TruncatedTransferConfig, most: Condition, fewest: Condition) -> Claim:
    gains = [difference(_gain(name, fewest), _gain(name, most)) for name in _paired_networks(config)]
    return Claim(
        "a2",
        "Transfer gains more with few data.",
        "Fig. 3",
        f"mean over networks of (gain with {fewest.regime}) − (gain with {most.regime}), gain = transfer − random",
        fewest,
        _mean(gains),
        0.0,
    )


def _cuts(config: TruncatedTransferConfig, condition: Condition) -> list[Claim]:
    """One claim a cut, so that no cut is chosen by looking at test images."""
    found = []
    for variant in config.variants:
        structure = config.structure(variant)
        whole = f"{config.backbone(variant)}-transfer"
        if (
            isinstance(structure, NetworkConfig)
            and structure.cut
            and variant.endswith("-transfer")
            and whole in config.variants
        ):
            found.append(
                Claim(
                    "b",
                    f"{network_title(config.variant(variant).network)} is at least as good as the whole network, "
                    "both with transfer.",
                    "Fig. 5, 6, 7",
                    "cut network − whole network",
                    condition,
                    {(variant, condition): 1.0, (whole, condition): -1.0},
                    MARGIN,
                )
            )
    return found


def _transfusions(config: TruncatedTransferConfig, condition: Condition) -> list[Claim]:
    """Truncated transfer against transfusion with the same pretrained blocks."""
    found = []
    for variant in config.variants:
        slim = config.structure(variant)
        if isinstance(slim, SlimConfig) and variant.endswith("-transfusion"):
            cut = f"{slim.backbone}_t{slim.after}-transfer"
            if cut in config.variants:
                found.append(
                    Claim(
                        "b_transfusion",
                        f"Cut after block {slim.after} is at least as good as transfusion up to block {slim.after}.",
                        "Fig. 6",
                        "cut network with transfer − slim network with transfusion",
                        condition,
                        {(cut, condition): 1.0, (variant, condition): -1.0},
                        MARGIN,
                    )
                )
    return found
