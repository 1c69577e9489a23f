"""The paper's figures as tables: networks, transfer against random, cuts, transfusion; tests, claims and ties."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medtransfer.evaluation.cells import Cell, Row
from medtransfer.evaluation.claims import Judged
from medtransfer.reporting.claims_table import claims_table as shared_claims_table
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import (
    IMAGES_ONLY,
    METRIC_TITLES,
    MISSING,
    READING,
    bounds,
    estimate,
    image_count,
    interval,
    is_missing,
    labels,
    lookup,
    no_interval,
    number,
    probability,
    signed,
    spread,
    with_caveat,
)
from medtransfer.studies.truncated_transfer.claims import DECIDING, METRICS, Ties, left_out
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig
from medtransfer.studies.truncated_transfer.report.balance import balance_title, share_of_positives
from medtransfer.studies.truncated_transfer.report.names import (
    FIT,
    condition_title,
    fit_cells,
    network_of,
    network_title,
    variant_title,
)
from medtransfer.studies.truncated_transfer.report.results import Results, by_pair, mean_trapezoid


def networks_table(results: Results, rows: Sequence[Row], costs: Mapping[str, Any]) -> Table:
    """Return all variants under all conditions (Fig. 7): parameters, AUROC and AUPRC on the test images."""
    by_name, tested = lookup(rows, "variant", "condition", "metric"), [c.name for c in results.conditions]
    body = []
    for variant in results.config.variants:
        cells = (estimate(by_name.get((variant, condition, metric))) for condition in tested for metric in METRICS)
        parameters = _parameters(costs["networks"].get(network_of(variant)))
        body.append((*fit_cells((variant, ""))[1:], parameters, *cells))
    columns = (Column(METRIC_TITLES[metric], condition_title(name)) for name in tested for metric in METRICS)
    return Table(
        "networks",
        "All networks by AUROC and AUPRC (Fig. 7)",
        f"Test images; columns: task · regime · protocol. {READING} AUPRC is average precision.",
        (*FIT[1:], Column("parameters"), *columns),
        tuple(body),
        _chance(results),
    )


def kinds_table(results: Results, rows: Sequence[Row]) -> Table:
    """Return AUPRC by average precision and by the trapezoid (G-9)."""
    by_name, body = lookup(rows, "variant", "condition", "metric"), []
    for key, cell in results.cells.items():
        row, (mean, sd) = by_name[*key, "auprc"], mean_trapezoid(cell)
        gap = MISSING if is_missing(row["mean"]) else TableCell(signed(mean - row["mean"]))
        cells = (TableCell(spread(row["mean"], row["sd"])), TableCell(spread(mean, sd)), gap)
        body.append((*fit_cells(key), *cells))
    return Table(
        "kinds",
        "AUPRC by average precision and by the trapezoid",
        "Mean ± sd over seeds. Straight lines between the points of a precision–recall curve are too optimistic where "
        "scores are tied; the paper’s code uses them, every other table here uses average precision.",
        (*FIT, *map(Column, ("average precision", "trapezoid", "difference"))),
        tuple(body),
    )


def transfer_table(rows: Sequence[Row], gains: Sequence[Row]) -> Table:
    """Return TL against RI by network and regime (Fig. 3 and 4)."""
    body = [
        (TableCell(condition_title(part[0]["condition"])), _network(part[0]["variant"]), *cells)
        for part, cells in _compared(rows, gains, ("variant_b", "variant"))
    ]
    return Table(
        "transfer",
        "Transfer against random initialisation (Fig. 3, 4)",
        f"The same network, data and budget. {READING}",
        (*FIT[:2], *_by_metric("RI", "TL", "TL − RI")),
        tuple(body),
        () if body else ("No network was run both with transfer and from random weights.",),
    )


def cuts_table(changes: Sequence[Row]) -> Table:
    """Return the relative change of cut networks against the whole network (Fig. 5), in per cent."""
    body = [
        (
            TableCell(condition_title(part[0]["condition"])),
            _network(part[0]["variant"]),
            *map(_percent, part),
        )
        for part in by_pair(changes)
    ]
    return Table(
        "cuts",
        "Relative change of cut networks against the whole network (Fig. 5)",
        "(cut − whole) ÷ whole in per cent, both with transfer, per seed; below it the 95 % interval. The paper shows "
        "the best network of each family; this table shows every cut, because the best of several is optimistic.",
        (*labels("Setting", "Cut network"), *_by_metric("change, %")),
        tuple(body),
        () if body else ("No cut network was run together with its whole network, both with transfer.",),
    )


def transfusion_table(rows: Sequence[Row], gaps: Sequence[Row], config: TruncatedTransferConfig) -> Table:
    """Return truncated transfer against transfusion at the same depth (Fig. 6); missing variants are named."""
    body = [
        (
            TableCell(condition_title(part[0]["condition"])),
            *(_network(part[0][side]) for side in ("variant", "variant_b")),
            *cells,
        )
        for part, cells in _compared(rows, gaps, ("variant", "variant_b"))
    ]
    missing = missing_partners(config)
    return Table(
        "transfusion",
        "Truncated transfer against transfusion at the same depth (Fig. 6)",
        f"Both use the same pretrained blocks; transfusion adds a slimmer, random top. {READING}",
        (*labels("Setting", "Truncated", "Transfusion"), *_by_metric("truncated", "transfusion", "difference")),
        tuple(body),
        (f"Not run: {', '.join(missing)}.",) if missing else (),
    )


def missing_partners(config: TruncatedTransferConfig) -> list[str]:
    """Return the variants that are missing to compare truncated transfer and transfusion at every depth."""
    missing = []
    for variant in config.variants:
        network, _, depth = network_of(variant).rpartition("_")
        if network.startswith("densenet") and depth[1:].isdigit():
            swap = {"t": ("transfer", f"{network}_s{depth[1:]}-transfusion")}
            swap["s"] = ("transfusion", f"{network}_t{depth[1:]}-transfer")
            strategy, partner = swap.get(depth[0], ("", ""))
            if variant.endswith(f"-{strategy}") and partner and partner not in config.variants:
                missing.append(partner)
    return missing


def tests_table(tests: Sequence[Row]) -> Table:
    """Return the paired tests of all comparisons, with Holm's correction."""
    body = []
    for part in by_pair(tests):
        cells = [TableCell(condition_title(part[0]["condition"]))]
        variants = [part[0][side] for side in ("variant", "variant_b")]
        cells += [with_caveat(variant_title(variant), left_out([variant])) for variant in variants]
        for row in part:
            cells += [estimate(row, difference=True), *(TableCell(probability(row[p])) for p in ("p", "p_holm"))]
        cells += [TableCell(probability(row["p_images"])) for row in part if row["metric"] == "auroc"]
        body.append(tuple(cells))
    return Table(
        "tests",
        "Paired tests",
        "First − second on the same test images, mean over seeds, with its 95 % interval over patients and seeds (over "
        "patients alone with one seed); the two-sided p belongs to the interval and is Holm-adjusted over all rows of "
        "a metric. With one seed there is none.",
        (
            *labels("Setting", "First", "Second"),
            *_by_metric("difference", "p", "p, Holm"),
            Column("AUROC, p", IMAGES_ONLY),
        ),
        tuple(body),
        (
            "Images only: DeLong’s test for AUROC of one output; the scores of each image are averaged over seeds and "
            "paired between the variants, the variance is that of whole patients. It ignores variation in training.",
        ),
    )


def claims_table(judged: Iterable[Judged], ties: Iterable[Ties]) -> Table:
    """Return the verdict on every claim; AUPRC decides, AUROC is given as well."""
    return shared_claims_table(
        [*judged, *(one.judged for one in ties)],
        {metric: Column(METRIC_TITLES[metric]) for metric in METRICS},
        deciding=DECIDING,
        intro="Differences on the test images with 95 % intervals. “At least as good” means not worse by 0.02. A claim "
        "holds when its whole interval in AUPRC is above the limit, and does not hold when all of it is below.",
        title=condition_title,
    )


def ties_table(ties: Iterable[Ties]) -> Table:
    """Return how many ties in one metric the other metric breaks (claim c)."""
    body = tuple(
        (
            TableCell(condition_title(one.condition)),
            TableCell(str(one.pairs)),
            *(TableCell(str(n)) for n in (one.tied_auroc, one.broken_by_auprc, one.tied_auprc, one.broken_by_auroc)),
        )
        for one in ties
        if one.pairs
    )
    columns = (
        Column("tied", "pairs by AUROC"),
        Column("of these separated by AUPRC", "pairs by AUROC"),
        Column("tied", "pairs by AUPRC"),
        Column("of these separated by AUROC", "pairs by AUPRC"),
    )
    return Table(
        "ties",
        "Pairs that one metric ties and the other separates",
        "Pairs of variants. Tied: the 95 % interval of the difference includes zero. Separated: the interval, "
        "Bonferroni-corrected for the number of ties, excludes zero.",
        (*FIT[:1], Column("pairs"), *columns),
        body,
    )


def _network(variant: str) -> TableCell:
    return with_caveat(network_title(variant), left_out([variant]))


def _compared(
    rows: Sequence[Row], gaps: Sequence[Row], sides: tuple[str, str]
) -> list[tuple[tuple[Row, ...], list[TableCell]]]:
    """Return the rows of each pair and, by metric, the estimates of both sides and their difference."""
    by_name, body = lookup(rows, "variant", "condition", "metric"), []
    for part in by_pair(gaps):
        cells = []
        for row in part:
            cells += [estimate(by_name.get((row[side], row["condition"], row["metric"]))) for side in sides]
            cells.append(estimate(row, difference=True))
        body.append((part, cells))
    return body


def _by_metric(*names: str) -> list[Column]:
    return [Column(name, METRIC_TITLES[metric]) for metric in METRICS for name in names]


def _parameters(cost: Mapping[str, Any] | None) -> TableCell:
    if cost is None:
        return MISSING
    return TableCell(f"{cost['parameters'] / 1e6:.2f} M", hover=f"{cost['parameters']:,}")


def _chance(results: Results) -> tuple[str, ...]:
    """State the results of chance, in one note for all settings that are tested on the same images."""
    settings: dict[str, list[str]] = {}
    for condition in results.conditions:
        cell = next(cell for cell in results.cells.values() if cell.condition == condition.name)
        at = "" if cell.neg_pos_ratio is None else f" at {balance_title(cell.neg_pos_ratio)}"
        text = (
            f"{image_count(cell, 'test images')}; chance is AUROC 0.5 and AUPRC "
            f"{number(share_of_positives(cell))}, the share of positives{at}.{_left_out(cell)}"
        )
        settings.setdefault(text, []).append(condition_title(condition.name))
    return tuple(f"{', '.join(conditions)}: {text}" for text, conditions in settings.items())


def _left_out(cell: Cell) -> str:
    """Name the findings that means leave out because their known test images are all positive or all negative."""
    names = [name for name in cell.outputs if name not in cell.two_class]
    if not names:
        return ""
    count = len(cell.two_class)
    return f" Means are over {count} of {len(cell.outputs)} findings; only one class here: {', '.join(names)}."


def _percent(row: Row) -> TableCell:
    numbers = ("mean", "low", "high", "low_seeds", "high_seeds")
    scaled = {name: None if is_missing(row[name]) else 100 * row[name] for name in numbers}
    low, high = bounds(scaled)
    detail = interval(low, high, difference=True, digits=1) or no_interval(row["reason"])
    return TableCell(signed(scaled["mean"], digits=1), detail)
