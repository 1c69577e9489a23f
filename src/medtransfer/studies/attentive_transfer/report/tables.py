"""The paper's Tables 2 to 5 rebuilt, the whole grid, and the paired comparisons of networks and of methods."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import Any

from medtransfer.evaluation.cells import Cells, Key, Row
from medtransfer.evaluation.compare import holm
from medtransfer.evaluation.pairs import Pair, delong, detectable
from medtransfer.evaluation.summary import LEVEL
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import (
    METRIC_TITLES,
    MISSING,
    NOT_PRINTED,
    READING,
    REFERENCE,
    estimate,
    interval,
    is_missing,
    labels,
    lookup,
    number,
    probability,
    signed,
)
from medtransfer.studies.attentive_transfer.claims import attention_pairs
from medtransfer.studies.attentive_transfer.paper.values import (
    NO_TRANSFER,
    WHOLE_CHAIN,
    PaperTable,
    arithmetic_errors,
    attention_layers,
    chain_title,
    method_chains,
    network_title,
    printed,
    step_title,
)
from medtransfer.studies.attentive_transfer.report.results import METRICS, Results

_AGAINST = {
    "plain network": "the same backbone without ATTN",
    "no transfer": "the same network without transfer",
    "multi-scale method": "the same network after the paper’s own method",
}
_TESTED = ("difference", "p", "p, Holm", "detectable")
_DELONG = (
    "AUROC of scores averaged over seeds, on the test images; paired DeLong test, adjusted by Holm over all rows. "
    "“Detectable” is the true difference that these images would show in 80 of 100 such studies at p < 0.05. Outside "
    "sets were seen by no stage; their differences are not tested."
)
_INDEPENDENT = (
    "Patients count as independent, not their images (Obuchowski 1997). Chance in training is no part of this test."
)


def paper_table(table: PaperTable, found: Results) -> Table:
    """Return a table of the paper with ours beside it: one row per network and chain, column groups by metric."""
    keys = [(network, chain) for network in found.config.networks for chain in table.rows(found.config.chains)]
    theirs = lookup(printed().query("table == @table.number").to_dict("records"), "network", "chain", "metric")
    errors = arithmetic_errors().query("table == @table.number").to_dict("records")
    wrong = lookup(errors, "network", "chain", "metric")
    gains = found.gains([(key, table.reference(key)) for key in keys], METRICS)
    several = len(table.chains) > 1
    rows = []
    for key in keys:
        shown = [network_cell(found, key), *([TableCell(chain_title(key[1]))] if several else [])]
        for metric in METRICS:
            cell = (*key, metric)
            reference = table.reference(key) == key
            gain = REFERENCE if reference else estimate(gains.get(cell), difference=True)
            paper = _printed(theirs.get(cell), misprint=cell in wrong, reference=reference)
            shown += [paper, estimate(found.known.get((found.own, *cell))), gain]
        rows.append((*shown, *(estimate(found.known.get((name, *key, "auroc"))) for name in found.outside)))
    columns = [Column(part, METRIC_TITLES[metric]) for metric in METRICS for part in ("paper", "ours", "our gain")]
    return Table(
        f"table{table.number}",
        f"Table {table.number} · {table.title}",
        f"Gain: against {_AGAINST[table.against]}. {READING}",
        (*labels("Network", *(["Chain"] if several else [])), *columns, *outside_columns(found, "AUROC")),
        tuple(rows),
        tuple(map(_arithmetic_note, errors)),
    )


def grid_table(found: Results) -> Table:
    """Return the whole grid: AUROC of every network and chain on the own test set and on every outside set."""
    gains = found.gains([(key, (key[0], NO_TRANSFER)) for key in found.wanted])
    rows = []
    for key in found.wanted:
        gain = REFERENCE if key[1] == NO_TRANSFER else estimate(gains.get((*key, "auroc")), difference=True)
        own, *outside = (estimate(found.known.get((name, *key, "auroc"))) for name in found.grid)
        rows.append((network_cell(found, key), TableCell(chain_title(key[1])), own, gain, *outside))
    own_columns = (Column(name, "AUROC, own test set") for name in (found.own, "gain"))
    return Table(
        "grid",
        "Every network after every chain",
        f"AUROC on the test images; an outside set was seen by no stage. {READING}",
        (*labels("Network", "Chain"), *own_columns, *outside_columns(found, "AUROC")),
        tuple(rows),
    )


def attention_against_convolution(found: Results) -> Table:
    """Return every network with ATTN against its plain backbone after the same chain."""
    pairs = [((a, c), (b, c)) for c in found.config.chains for a, b in attention_pairs(found.config.networks)]
    return _comparison_table(
        found,
        pairs,
        lambda row: (
            TableCell(chain_title(row["condition"])),
            network_cell(found, (row["variant"], row["condition"])),
        ),
        key="delong",
        title="Attention against convolution after the same chain",
        columns=(*labels("Chain", "Network"), *map(Column, ("with ATTN", "without"))),
    )


def method_against_method(found: Results, budget: str) -> Table | None:
    """Return the paper's self-supervised method against every other in its place; nothing where there is none.

    ``budget`` is what ``budgets.shared_budget`` says.
    """
    methods, networks = method_chains(found.config.chains), found.config.networks
    table = _comparison_table(
        found,
        [((network, WHOLE_CHAIN), (network, chain)) for network in networks for chain in methods],
        lambda row: (
            TableCell(network_title(row["variant"])),
            TableCell(step_title(row["condition_b"].rpartition("-")[2])),
        ),
        key="methods",
        title="The paper’s self-supervision against other methods in its place",
        columns=(*labels("Network", "Instead of SSTL-M"), *map(Column, ("SSTL-M", "instead"))),
        notes=(budget,) if budget else (),
    )
    return table if table.rows else None


def compare(cells: Cells, pairs: Sequence[Pair]) -> list[Row]:
    """Compare the AUROC of the first cell of each pair to the second's; pairs that were not run are left out.

    One row per pair: ``variant, condition, variant_b, condition_b, auroc, auroc_b, difference``; ``low, high``, the
    normal interval of DeLong's variance, that of whole patients; ``p``, two-sided, and ``p_holm``, adjusted over all
    pairs; ``detectable``, the true difference that these images would show in 80 of 100 such studies at p < 0.05.
    """
    quantile, rows = NormalDist().inv_cdf((1 + LEVEL) / 2), []
    for a, b in pairs:
        if a in cells and b in cells:
            test, least = delong(cells[a], cells[b]), detectable(cells[a], cells[b])
            half = quantile * math.sqrt(test.variance)
            names = {"variant": a[0], "condition": a[1], "variant_b": b[0], "condition_b": b[1]}
            numbers = {"auroc": test.auroc_a, "auroc_b": test.auroc_b, "difference": test.difference, "p": test.p}
            bounds = {"low": test.difference - half, "high": test.difference + half}
            rows.append(names | numbers | bounds | {"detectable": least})
    adjusted = holm([row["p"] for row in rows])
    return [row | {"p_holm": float(p)} for row, p in zip(rows, adjusted, strict=True)]


def network_cell(found: Results, key: Key) -> TableCell:
    """Return a network's title, marked where it was run and its ATTN layers change nothing or were not switched off."""
    title = network_title(key[0])
    if not attention_layers(key[0]) or key not in found.cells:
        return TableCell(title)
    if key not in found.change:
        return TableCell(title, "attention not checked")
    change = found.change[key]
    hover = f"switching ATTN off changes a probability by at most {change['largest']:.3f}"
    return TableCell(title, "attention inactive" if change["inactive"] else "", hover)


def outside_columns(found: Results, what: str) -> list[Column]:
    """Return one column per outside set."""
    return [Column(name, f"{what}, outside sets") for name in found.outside]


def _comparison_table(
    found: Results,
    pairs: Sequence[Pair],
    named: Callable[[Row], tuple[TableCell, TableCell]],
    *,
    key: str,
    title: str,
    columns: Iterable[Column],
    notes: tuple[str, ...] = (),
) -> Table:
    own, *outside = (compare(cells, pairs) for cells in found.grid.values())
    names = ("variant", "condition", "variant_b", "condition_b")
    elsewhere = [lookup(rows, *names) for rows in outside]
    rows = tuple(
        (
            *named(row),
            TableCell(number(row["auroc"])),
            TableCell(number(row["auroc_b"])),
            _difference(row),
            *(TableCell(probability(row[name])) for name in ("p", "p_holm")),
            TableCell(number(row["detectable"])),
            *(_difference(far.get(tuple(row[name] for name in names))) for far in elsewhere),
        )
        for row in own
    )
    columns = (*columns, *map(Column, _TESTED), *outside_columns(found, "difference"))
    return Table(key, title, _DELONG, columns, rows, (_INDEPENDENT, *notes))


def _difference(row: Row | None) -> TableCell:
    if row is None:
        return MISSING
    return TableCell(signed(row["difference"]), interval(row["low"], row["high"], difference=True))


def _printed(row: Row | None, *, misprint: bool, reference: bool) -> TableCell:
    if row is None:
        return NOT_PRINTED
    star = "*" if misprint else ""
    gain = "" if reference or is_missing(row["gain"]) else f"gain {signed(row['gain'])}{star}"
    return TableCell(number(row["value"]), gain)


def _arithmetic_note(row: Mapping[Any, Any]) -> str:
    return (
        f"* {network_title(row['network'])}, {chain_title(row['chain'])}, {METRIC_TITLES[row['metric']]}: the paper "
        f"prints a gain of {row['gain']:.3f}; its printed values give {row['difference']:.3f}."
    )
