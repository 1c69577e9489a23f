"""The paper's Tables 2 to 5 reproduced, the whole grid, and the paired comparisons of networks and of methods."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from medtransfer.evaluation.cells import Cells, Key, Row
from medtransfer.evaluation.compare import holm
from medtransfer.evaluation.pairs import Pair, delong, detectable, differences
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import (
    IMAGES_ONLY,
    METRIC_TITLES,
    NOT_PRINTED,
    READING,
    REFERENCE,
    estimate,
    is_missing,
    labels,
    lookup,
    number,
    probability,
    signed,
    with_caveat,
)
from medtransfer.studies.attentive_transfer.claims import attention_pairs, not_in_interval, warmed_pairs
from medtransfer.studies.attentive_transfer.paper.values import (
    NO_TRANSFER,
    WHOLE_CHAIN,
    PaperTable,
    arithmetic_errors,
    method_chains,
    printed,
)
from medtransfer.studies.attentive_transfer.report.attention import inactive_mark
from medtransfer.studies.attentive_transfer.report.results import METRICS, Results
from medtransfer.studies.attentive_transfer.titles import (
    chain_title,
    has_warm_up,
    inserted_layers,
    is_control,
    network_title,
    step_title,
)

_AGAINST = {
    "plain network": "the same backbone without ATTN",
    "no transfer": "the same network without transfer",
    "multi-scale method": "the same network after the paper’s own method",
}
_DELONG = (
    "Difference: AUROC on the test images, mean over seeds, with its 95 % interval over patients and seeds (over "
    "patients alone with one seed). Images only: AUROC of scores averaged over seeds; p of the paired DeLong test, "
    "Holm-adjusted over all rows; “detectable” is the true difference that these images would show in 80 of 100 such "
    "studies at p < 0.05. Outside sets are used for testing only."
)
_INDEPENDENT = (
    "Patients count as independent, not their images (Obuchowski 1997). DeLong’s test ignores random variation in "
    "training."
)

_CONTROL = (
    "Warm-up: the inserted layers and a new head are trained alone, the trunk and its batch-norm statistics stay. The "
    "control has convolutions of 1 × 1 pixels in the place of the ATTN layers, with as many parameters and the same "
    "warm-up: what both gain over a plain network is due to training, what ATTN gains over its control is due to "
    "attention. A plain network has nothing to warm up."
)


def paper_table(table: PaperTable, results: Results) -> Table:
    """Return a table of the paper with our values: one row per network and chain, column groups by metric."""
    pairs = [(network, chain) for network in results.config.networks for chain in table.rows(results.config.chains)]
    keys = [key for key in pairs if key in results.cells]
    paper = lookup(printed().query("table == @table.number").to_dict("records"), "network", "chain", "metric")
    errors = arithmetic_errors().query("table == @table.number").to_dict("records")
    misprints = lookup(errors, "network", "chain", "metric")
    compared = [(key, table.reference(key)) for key in keys]
    gains = results.gains([pair for pair in compared if pair[1] in results.cells], METRICS)
    several = len(table.chains) > 1
    rows = []
    for key in keys:
        cells = [network_cell(results, key), *([TableCell(chain_title(key[1]))] if several else [])]
        for metric in METRICS:
            names = (*key, metric)
            reference = table.reference(key) == key
            gain = REFERENCE if reference else estimate(gains.get(names), difference=True)
            cells.append(_printed(paper.get(names), misprint=names in misprints, reference=reference))
            cells += [estimate(results.known.get((results.own, *names))), gain]
        rows.append((*cells, *(estimate(results.known.get((name, *key, "auroc"))) for name in results.outside)))
    columns = [Column(part, METRIC_TITLES[metric]) for metric in METRICS for part in ("paper", "ours", "our gain")]
    return Table(
        f"table{table.number}",
        f"Table {table.number} · {table.title}",
        f"Gain: compared with {_AGAINST[table.against]}. {READING}",
        (*labels("Network", *(["Chain"] if several else [])), *columns, *outside_columns(results, "AUROC")),
        tuple(rows),
        tuple(map(_arithmetic_note, errors)),
    )


def grid_table(results: Results) -> Table:
    """Return the whole grid: AUROC of every network and chain on the own test set and on every outside set."""
    gains = results.gains([(key, (key[0], NO_TRANSFER)) for key in results.wanted])
    rows = []
    for key in results.wanted:
        gain = REFERENCE if key[1] == NO_TRANSFER else estimate(gains.get((*key, "auroc")), difference=True)
        own, *outside = (estimate(results.known.get((name, *key, "auroc"))) for name in results.grid)
        rows.append((network_cell(results, key), TableCell(chain_title(key[1])), own, gain, *outside))
    own_columns = (Column(name, "AUROC, own test set") for name in (results.own, "gain"))
    return Table(
        "grid",
        "Every network after every chain",
        f"AUROC on the test images; outside sets are used for testing only. {READING}",
        (*labels("Network", "Chain"), *own_columns, *outside_columns(results, "AUROC")),
        tuple(rows),
    )


def attention_against_convolution(results: Results) -> Table:
    """Return the comparison of every network with ATTN with its plain backbone after the same chain."""
    pairs = [((a, c), (b, c)) for c in results.config.chains for a, b in attention_pairs(results.config.networks)]
    return _comparison_table(
        results,
        pairs,
        lambda row: (
            TableCell(chain_title(row["condition"])),
            network_cell(results, (row["variant"], row["condition"])),
        ),
        key="delong",
        title="Attention against convolution after the same chain",
        columns=(*labels("Chain", "Network"), *_compared("with ATTN", "without")),
    )


def after_warm_up(results: Results) -> Table | None:
    """Return what networks with a warm-up are compared with; None if no network has one.

    That is plain networks, the control of as many parameters, and themselves without a warm-up.
    """
    chains = dict.fromkeys(chain for _, chain in results.wanted if has_warm_up(chain))
    pairs = [pair for chain in chains for of in warmed_pairs(results.wanted, chain).values() for pair in of]
    table = _comparison_table(
        results,
        pairs,
        lambda row: tuple(
            _with_chain(results, (row[f"variant{which}"], row[f"condition{which}"])) for which in ("", "_b")
        ),
        key="warmed",
        title="After a warm-up of the inserted layers",
        columns=(*labels("Network", "Against"), *_compared("network", "against")),
        notes=(_CONTROL,),
    )
    return table if table.rows else None


def _with_chain(results: Results, key: Key) -> TableCell:
    cell = network_cell(results, key)
    return TableCell(f"{cell.main}, {chain_title(key[1])}", cell.detail, cell.hover)


def method_against_method(results: Results, budget: str) -> Table | None:
    """Return the comparison of the paper's self-supervised method with every replacement; None if there is none.

    ``budget`` is the sentence of ``budgets.shared_budget``.
    """
    methods, networks = method_chains(results.config.chains), results.config.networks
    table = _comparison_table(
        results,
        [((network, WHOLE_CHAIN), (network, chain)) for network in networks for chain in methods],
        lambda row: (
            network_cell(results, (row["variant"], row["condition"])),
            TableCell(step_title(row["condition_b"].rpartition("-")[2])),
        ),
        key="methods",
        title="The paper’s self-supervision against other methods as the last stage",
        columns=(*labels("Network", "Instead of SSTL-M"), *_compared("SSTL-M", "instead")),
        notes=(budget,) if budget else (),
    )
    return table if table.rows else None


def compare(cells: Cells, pairs: Sequence[Pair]) -> list[Row]:
    """Compare the AUROC of the two cells of each pair; pairs that were not run are left out.

    One row per pair: ``variant, condition, variant_b, condition_b, auroc, auroc_b``; ``p`` of DeLong's test with the
    variance of whole patients, two-sided, and ``p_holm``, adjusted over all pairs; ``detectable``, the true difference
    that these images would show in 80 of 100 such studies at p < 0.05.
    """
    rows = []
    for a, b in pairs:
        if a in cells and b in cells:
            test, least = delong(cells[a], cells[b]), detectable(cells[a], cells[b])
            names = {"variant": a[0], "condition": a[1], "variant_b": b[0], "condition_b": b[1]}
            rows.append(names | {"auroc": test.auroc_a, "auroc_b": test.auroc_b, "p": test.p, "detectable": least})
    adjusted = holm([row["p"] for row in rows])
    return [row | {"p_holm": float(p)} for row, p in zip(rows, adjusted, strict=True)]


def network_cell(results: Results, key: Key) -> TableCell:
    """Return a network's title.

    If it was run, with a mark when its inserted layers are inactive or were not checked, and with the chance in
    pretraining that the intervals of its row do not include.
    """
    title = network_title(key[0])
    if key not in results.cells:
        return TableCell(title)
    once = not_in_interval(results.config, [key[1]])
    if not inserted_layers(key[0]):
        return with_caveat(title, once)
    short = with_caveat(title, once).detail
    if key not in results.change:
        unchecked = f"{'control' if is_control(key[0]) else 'attention'} not checked"
        return TableCell(title, _joined(unchecked, short), once)
    change = results.change[key]
    hover = f"switching the inserted layers off changes probabilities by at most {change['largest']:.3f}"
    return TableCell(title, _joined(inactive_mark(key[0], change), short), _joined(hover, once))


def outside_columns(results: Results, what: str) -> list[Column]:
    """Return one column per outside set."""
    return [Column(name, f"{what}, outside sets") for name in results.outside]


def _comparison_table(
    results: Results,
    pairs: Sequence[Pair],
    name_cells: Callable[[Row], tuple[TableCell, ...]],
    *,
    key: str,
    title: str,
    columns: Iterable[Column],
    notes: tuple[str, ...] = (),
) -> Table:
    names = ("variant", "condition", "variant_b", "condition_b")
    own, *outside = (lookup(differences(cells, pairs, ("auroc",)), *names) for cells in results.grid.values())
    rows = tuple(
        (
            *name_cells(row),
            estimate(own[place], difference=True),
            *(TableCell(number(row[name])) for name in ("auroc", "auroc_b")),
            *(TableCell(probability(row[name])) for name in ("p", "p_holm")),
            TableCell(number(row["detectable"])),
            *(estimate(rows_of.get(place), difference=True) for rows_of in outside),
        )
        for row in compare(results.cells, pairs)
        for place in [tuple(row[name] for name in names)]
    )
    columns = (*columns, *outside_columns(results, "difference"))
    return Table(key, title, _DELONG, columns, rows, (_INDEPENDENT, *notes))


def _compared(first: str, second: str) -> tuple[Column, ...]:
    """Return the columns of a comparison; what DeLong's test says is in the group of the images alone."""
    alone = (first, second, "p", "p, Holm", "detectable")
    return Column("difference"), *(Column(name, IMAGES_ONLY) for name in alone)


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _printed(row: Row | None, *, misprint: bool, reference: bool) -> TableCell:
    if row is None:
        return NOT_PRINTED
    star = "*" if misprint else ""
    gain = "" if reference or is_missing(row["gain"]) else f"gain {signed(row['gain'])}{star}"
    return TableCell(number(row["value"]), gain)


def _arithmetic_note(row: Mapping[Any, Any]) -> str:
    return (
        f"* {network_title(row['network'])}, {chain_title(row['chain'])}, {METRIC_TITLES[row['metric']]}: the paper "
        f"prints a gain of {row['gain']:.3f}, but its printed values give {row['difference']:.3f}."
    )
