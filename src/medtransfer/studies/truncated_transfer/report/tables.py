"""The paper's figures as tables: networks, transfer against random, cuts, transfusion, tests, verdicts, ties."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medtransfer.evaluation.contrasts import Judged
from medtransfer.evaluation.scorecard import Fits
from medtransfer.reporting.content import Column, Table, Text
from medtransfer.reporting.formatting import (
    MISSING,
    bounds,
    estimate,
    interval,
    is_missing,
    number,
    probability,
    signed,
)
from medtransfer.studies.truncated_transfer.claims import METRICS, Claim, Key, Ties, measured_outputs
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig
from medtransfer.studies.truncated_transfer.report.balance import balance_title, share_of_positives
from medtransfer.studies.truncated_transfer.report.names import (
    METRIC_TITLES,
    condition_title,
    network_of,
    network_title,
    start_title,
    variant_title,
)
from medtransfer.studies.truncated_transfer.report.values import Results, Row, by_pair

READING = (
    "Mean ± sd over seeds; below it the 95 % interval from drawing seeds and patients, or patients alone where there "
    "is one seed."
)
_VARIANT = (Column("Network", number=False), Column("Start", number=False))


def networks_table(found: Results, rows: Sequence[Row], costs: Mapping[str, Any]) -> Table:
    """Lay out all variants on all conditions (Fig. 7): parameters, AUROC and AUPRC on the test images."""
    known = _lookup(rows)
    body = []
    for variant in found.config.variants:
        shown = [_estimate(known, (variant, condition, metric)) for condition in found.conditions for metric in METRICS]
        body.append((*_variant(variant), _parameters(costs["networks"].get(network_of(variant))), *shown))
    columns = [
        Column(METRIC_TITLES[metric], condition_title(condition))
        for condition in found.conditions
        for metric in METRICS
    ]
    return Table(
        "networks",
        "All networks by AUROC and AUPRC (Fig. 7)",
        f"Test images; columns: task · regime · protocol. {READING} AUPRC is average precision.",
        (*_VARIANT, Column("parameters"), *columns),
        tuple(body),
        _chance(found),
    )


def kinds_table(rows: Sequence[Row], trapezoids: Mapping[Key, tuple[float, float | None]]) -> Table:
    """Lay out AUPRC by average precision with the trapezoid beside it (G-9)."""
    body = []
    for row in (row for row in rows if row["metric"] == "auprc"):
        mean, sd = trapezoids[row["variant"], row["condition"]]
        beside = number(mean) + ("" if sd is None else f" ± {number(sd)}")
        step = number(row["mean"]) + ("" if is_missing(row["sd"]) else f" ± {number(row['sd'])}")
        gap = MISSING if is_missing(row["mean"]) else Text(signed(mean - row["mean"]))
        body.append((Text(condition_title(row["condition"])), *_variant(row["variant"]), Text(step), Text(beside), gap))
    return Table(
        "kinds",
        "AUPRC by average precision and by the trapezoid",
        "Mean ± sd over seeds. Straight lines between the points of a precision–recall curve flatter where scores "
        "tie; the paper’s code draws them, every other table here takes average precision.",
        (Column("Setting", number=False), *_VARIANT, *map(Column, ("average precision", "trapezoid", "difference"))),
        tuple(body),
    )


def transfer_table(rows: Sequence[Row], gains: Sequence[Row]) -> Table:
    """Lay out TL against RI by network and regime (Fig. 3 and 4)."""
    known = _lookup(rows)
    body = []
    for part in by_pair(gains):
        variant, other, condition = (part[0][name] for name in ("variant", "variant_b", "condition"))
        conditions = [Text(condition_title(condition)), Text(network_title(variant))]
        for row in part:
            conditions += [_estimate(known, (name, condition, row["metric"])) for name in (other, variant)]
            conditions.append(estimate(row, difference=True))
        body.append(tuple(conditions))
    columns = [Column(name, METRIC_TITLES[metric]) for metric in METRICS for name in ("RI", "TL", "TL − RI")]
    return Table(
        "transfer",
        "Transfer against random initialisation (Fig. 3, 4)",
        f"The same network, data and budget. {READING}",
        (Column("Setting", number=False), Column("Network", number=False), *columns),
        tuple(body),
        () if body else ("No network was run both with transfer and from random weights.",),
    )


def cuts_table(changes: Sequence[Row]) -> Table:
    """Lay out the relative change of cut networks against the whole one (Fig. 5), in per cent."""
    columns = [Column("change, %", METRIC_TITLES[metric]) for metric in METRICS]
    body = [
        (Text(condition_title(part[0]["condition"])), Text(network_title(part[0]["variant"])), *map(_percent, part))
        for part in by_pair(changes)
    ]
    return Table(
        "cuts",
        "Cut networks against the whole one, relative change (Fig. 5)",
        "(cut − whole) ÷ whole in per cent, both with transfer, seed by seed; below it the 95 % interval. The paper "
        "shows the best network of each family; every cut stands here, because the best of several flatters itself.",
        (Column("Setting", number=False), Column("Cut network", number=False), *columns),
        tuple(body),
        () if body else ("No cut network was run with transfer beside its whole network.",),
    )


def transfusion_table(rows: Sequence[Row], gaps: Sequence[Row], config: TruncatedTransferConfig) -> Table:
    """Lay out truncated transfer against transfusion at the same depth (Fig. 6); variants that lack are named."""
    known = _lookup(rows)
    body = []
    for part in by_pair(gaps):
        variant, other, condition = (part[0][name] for name in ("variant", "variant_b", "condition"))
        conditions = [Text(condition_title(condition)), Text(network_title(variant)), Text(network_title(other))]
        for row in part:
            conditions += [_estimate(known, (name, condition, row["metric"])) for name in (variant, other)]
            conditions.append(estimate(row, difference=True))
        body.append(tuple(conditions))
    missing = missing_partners(config)
    note = f"Not run: {', '.join(missing)}." if missing else ""
    columns = [
        Column(name, METRIC_TITLES[metric]) for metric in METRICS for name in ("truncated", "transfusion", "difference")
    ]
    labels = (Column(name, number=False) for name in ("Setting", "Truncated", "Transfusion"))
    return Table(
        "transfusion",
        "Truncated transfer against transfusion at the same depth (Fig. 6)",
        f"Both take the same pretrained blocks; transfusion puts a slimmer, random top on them. {READING}",
        (*labels, *columns),
        tuple(body),
        (note,) if note else (),
    )


def missing_partners(config: TruncatedTransferConfig) -> list[str]:
    """Return the variants that lack for comparing truncated transfer and transfusion at every depth."""
    variants, missing = set(config.variants), []
    for variant in config.variants:
        network, _, depth = network_of(variant).rpartition("_")
        if network.startswith("densenet") and depth[1:].isdigit():
            swap = {"t": ("transfer", f"{network}_s{depth[1:]}-transfusion")}
            swap["s"] = ("transfusion", f"{network}_t{depth[1:]}-transfer")
            strategy, partner = swap.get(depth[0], ("", ""))
            if variant.endswith(f"-{strategy}") and partner and partner not in variants:
                missing.append(partner)
    return missing


def tests_table(tests: Sequence[Row]) -> Table:
    """Lay out the paired tests of all comparisons with Holm's correction."""
    body = []
    for part in by_pair(tests):
        variant, other, condition = (part[0][name] for name in ("variant", "variant_b", "condition"))
        conditions = [Text(condition_title(condition)), Text(variant_title(variant)), Text(variant_title(other))]
        for row in part:
            change = interval(*bounds(row), difference=True)
            conditions += [Text(signed(row["mean"]), change), Text(probability(row["p"]), row["test"])]
            conditions.append(Text(probability(row["p_holm"])))
        body.append(tuple(conditions))
    columns = [Column(name, METRIC_TITLES[metric]) for metric in METRICS for name in ("difference", "p", "p, Holm")]
    labels = (Column(name, number=False) for name in ("Setting", "First", "Second"))
    return Table(
        "tests",
        "Paired tests",
        "First − second on the same test images, mean over seeds, with its 95 % interval; p two-sided, adjusted by "
        "Holm over all rows of a metric.",
        (*labels, *columns),
        tuple(body),
        (
            "DeLong, for AUROC of one output: both variants’ scores of an image are averaged over seeds and paired; "
            "the variance is that of whole patients. Chance in training is in the interval beside it, not in its p.",
            "Bootstrap: twice the share of the resampled differences beyond zero, never below 2 ÷ (resamples + 1); it "
            "draws whole patients and, from two seeds on, seeds, both variants the same.",
        ),
    )


def claims_table(judged: Iterable[tuple[Claim, Mapping[str, Judged]]], ties: Iterable[Ties]) -> Table:
    """Lay out the verdict on every claim; AUPRC decides, AUROC stands beside it."""
    body = [
        (
            Text(f"({claim.key[0]}) {claim.statement}", hover=claim.how),
            Text(condition_title(claim.condition)),
            Text(claim.source),
            *(_judged(by_metric[metric]) for metric in METRICS),
            Text(by_metric["auprc"].verdict, by_metric["auprc"].reason),
        )
        for claim, by_metric in judged
    ]
    statement = Text(
        "(c) AUPRC separates what AUROC ties.", hover="ties of one metric that the other breaks, both ways"
    )
    for one in ties:
        verdict = Text(one.judged.verdict, one.judged.reason)
        body.append((statement, Text(condition_title(one.condition)), Text("Fig. 2, 7"), MISSING, MISSING, verdict))
    labels = (Column(name, number=False) for name in ("Claim", "Setting", "Printed in"))
    return Table(
        "claims",
        "The paper’s claims",
        "Differences on the test images with 95 % intervals. “At least as good” means not worse by 0.02. A claim holds "
        "when its whole interval in AUPRC lies above the border, does not hold when no part of it does.",
        (*labels, Column("AUROC"), Column("AUPRC"), Column("Verdict", number=False)),
        tuple(body),
    )


def ties_table(ties: Iterable[Ties]) -> Table:
    """Lay out how many ties of one metric the other breaks (claim c)."""
    body = tuple(
        (
            Text(condition_title(one.condition)),
            Text(str(one.pairs)),
            *(Text(str(n)) for n in (one.tied_auroc, one.broken_by_auprc, one.tied_auprc, one.broken_by_auroc)),
        )
        for one in ties
    )
    columns = (
        Column("tied", "pairs by AUROC"),
        Column("of these separated by AUPRC", "pairs by AUROC"),
        Column("tied", "pairs by AUPRC"),
        Column("of these separated by AUROC", "pairs by AUPRC"),
    )
    return Table(
        "ties",
        "What one metric ties and the other separates",
        "Pairs of variants; tied: the 95 % interval of the difference holds zero; separated: its normal interval "
        "(± z sd of the resampled differences), corrected by Bonferroni for the number of ties, does not.",
        (Column("Setting", number=False), Column("pairs"), *columns),
        body,
    )


def _variant(variant: str) -> tuple[Text, Text]:
    return Text(network_title(variant), hover=network_of(variant)), Text(start_title(variant))


def _lookup(rows: Iterable[Row]) -> dict[tuple[Any, ...], Row]:
    return {(row["variant"], row["condition"], row["metric"]): row for row in rows}


def _estimate(rows: Mapping[tuple[Any, ...], Row], key: tuple[Any, ...]) -> Text:
    return estimate(rows[key]) if key in rows else MISSING


def _parameters(cost: Mapping[str, Any] | None) -> Text:
    if cost is None:
        return MISSING
    return Text(f"{cost['parameters'] / 1e6:.2f} M", hover=f"{cost['parameters']:,}")


def _chance(found: Results) -> tuple[str, ...]:
    """Say what chance would reach, in a note for all settings that are tested on the same images."""
    settings: dict[str, list[str]] = {}
    for condition in found.conditions:
        fits = next(fits for (_, other), fits in found.fits.items() if other == condition)
        negatives = found.config.neg_pos_ratio(condition)
        share = number(share_of_positives(fits, negatives))
        at = "" if negatives is None else f" at {balance_title(negatives)}"
        text = (
            f"{len(fits.target)} test images of {len(set(fits.patients))} patients; chance is AUROC 0.5 and AUPRC "
            f"{share}, the share of positives{at}.{_left_out(fits)}"
        )
        settings.setdefault(text, []).append(condition_title(condition))
    return tuple(f"{', '.join(conditions)}: {text}" for text, conditions in settings.items())


def _left_out(fits: Fits) -> str:
    """Name the findings that no mean holds because their known test images are all positive or all negative."""
    columns = measured_outputs(fits)
    names = [name for column, name in enumerate(fits.outputs) if column not in columns]
    if not names:
        return ""
    return f" Means are over {len(columns)} of {len(fits.outputs)} findings; of one class here: {', '.join(names)}."


def _percent(row: Mapping[str, Any]) -> Text:
    scaled = {name: None if is_missing(v := row[name]) else 100 * v for name in row if name in _NUMBERS}
    low, high = bounds(scaled)
    return Text(signed(scaled["mean"], digits=1), interval(low, high, difference=True, digits=1))


_NUMBERS = ("mean", "sd", "low", "high", "low_seeds", "high_seeds")


def _judged(one: Judged) -> Text:
    return MISSING if one.estimate is None else Text(signed(one.estimate), interval(one.low, one.high, difference=True))
