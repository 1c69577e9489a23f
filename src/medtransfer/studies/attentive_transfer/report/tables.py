"""The paper's Tables 2 to 5 rebuilt, the whole grid, and the paired comparisons of networks and of methods."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from medtransfer.reporting.content import Column, Table, Text
from medtransfer.reporting.formatting import (
    METRIC_TITLES,
    MISSING,
    NOT_PRINTED,
    REFERENCE,
    estimate,
    interval,
    is_missing,
    number,
    probability,
    signed,
)
from medtransfer.studies.attentive_transfer.paper.values import (
    NO_TRANSFER,
    PaperTable,
    arithmetic_errors,
    network_title,
    plain,
    printed,
)
from medtransfer.studies.attentive_transfer.report.names import chain_title, step_title
from medtransfer.studies.attentive_transfer.report.results import METRICS, Grid, ReportSettings, estimates, paired

_KEY = ["network", "chain", "metric"]


def paper_frame(table: PaperTable, grid: Grid, settings: ReportSettings) -> pd.DataFrame:
    """Return a table of the paper as one row a network, chain and metric.

    Columns: ``network, chain, metric``; ``paper, paper_gain`` (NaN = not available); ours: ``mean, sd, low, high,
    low_seeds, high_seeds`` and the same with ``_gain`` behind for the improvement (NaN = not run); ``misprint``: the
    printed improvement is not the difference of the printed values.
    """
    own, cells = next(iter(grid.items()))
    wanted = [(network, chain) for network in settings.networks for chain in table.rows(settings.chains)]
    frame = pd.DataFrame([(*cell, metric) for cell in wanted for metric in METRICS], columns=_KEY)
    theirs = printed().query("table == @table.number").rename(columns={"value": "paper", "gain": "paper_gain"})
    found = estimates({own: cells}, settings).drop(columns=["dataset", "images", "patients", "seeds"])
    gains = paired(cells, [(cell, table.reference(cell)) for cell in wanted], settings)
    frame = frame.merge(theirs.drop(columns="table"), "left", _KEY).merge(found, "left", _KEY)
    frame = frame.merge(gains, "left", _KEY, suffixes=("", "_gain"))
    wrong = arithmetic_errors().query("table == @table.number").set_index(_KEY).index
    return frame.assign(misprint=pd.MultiIndex.from_frame(frame[_KEY]).isin(wrong))


def paper_table(
    table: PaperTable, frame: pd.DataFrame, inactive: pd.DataFrame, outside: Mapping[str, pd.DataFrame]
) -> Table:
    """Lay a frame of :func:`paper_frame` out as the paper does: a row a network and chain, column groups by metric.

    ``outside`` maps an outside set to its AUROC rows of :func:`estimates`: one more column each.
    """
    parts = ("paper", "ours", "our gain")
    columns = [Column(part, METRIC_TITLES[metric]) for metric in METRICS for part in parts]
    columns += [Column(name, "AUROC, outside sets") for name in outside]
    far = {name: found.set_index(["network", "chain"]) for name, found in outside.items()}
    one_chain = len(table.chains) == 1
    notes = tuple(_arithmetic_note(row) for row in arithmetic_errors().query("table == @table.number").itertuples())
    rows = []
    for (network, chain), part in frame.groupby(["network", "chain"], sort=False):
        reference = table.reference((network, chain)) == (network, chain)
        values = [text for row in part.to_dict("records") for text in _compared(row, reference=reference)]
        values += [_own(found, (network, chain)) for found in far.values()]
        run = not part["mean"].isna().all()
        label = (_network(network, chain, inactive, run=run), *(() if one_chain else (Text(chain_title(chain)),)))
        rows.append((*label, *values))
    return Table(
        f"table{table.number}",
        f"Table {table.number} · {table.title}",
        f"Gain: against {_AGAINST[table.against]}. {_READING}",
        (Column("Network", number=False), *(() if one_chain else (Column("Chain", number=False),)), *columns),
        tuple(rows),
        notes,
    )


def grid_table(grid: Grid, settings: ReportSettings, inactive: pd.DataFrame) -> Table:
    """Lay the whole grid out: AUROC of every network and chain on the own test set and on every outside set."""
    found = estimates(grid, settings).query("metric == 'auroc'").set_index(["dataset", "network", "chain"])
    own, cells = next(iter(grid.items()))
    wanted = [(network, chain) for network in settings.networks for chain in settings.chains]
    gains = paired(cells, [(cell, (cell[0], NO_TRANSFER)) for cell in wanted], settings)
    gains = gains.query("metric == 'auroc'").set_index(["network", "chain"])
    rows = []
    for cell in wanted:
        gain = _own(gains, cell, difference=True) if cell[1] != NO_TRANSFER else REFERENCE
        values = [_own(found, (name, *cell)) for name in grid]
        title = _network(*cell, inactive, run=cell in cells)
        rows.append((title, Text(chain_title(cell[1])), values[0], gain, *values[1:]))
    outside = tuple(Column(name, "AUROC, outside sets") for name in list(grid)[1:])
    columns = (Column("Network", number=False), Column("Chain", number=False))
    return Table(
        "grid",
        "Every network after every chain",
        f"AUROC on the test images; an outside set was seen by no stage. {_READING}",
        (*columns, Column(own, "AUROC, own test set"), Column("gain", "AUROC, own test set"), *outside),
        tuple(rows),
    )


def comparison_table(comparisons: Mapping[str, pd.DataFrame], inactive: pd.DataFrame) -> Table:
    """Lay out attention against convolution after the same chain.

    Args:
        comparisons: frames of ``comparisons.compare`` by data set, the own test set first.
        inactive: frame of ``cells.attention_change``.
    """
    labels = (Column("Chain", number=False), Column("Network", number=False))
    own, *outside = comparisons.values()
    rows = tuple(
        (
            Text(chain_title(row.chain)),
            _network(row.network, row.chain, inactive),
            *_tested(row),
            *_elsewhere(row, outside),
        )
        for row in own.itertuples()
    )
    return Table(
        "delong",
        "Attention against convolution after the same chain",
        _DELONG,
        (*labels, *map(Column, ("with ATTN", "without", *_TESTED)), *_outside_columns(comparisons)),
        rows,
        (_INDEPENDENT,),
    )


def method_table(comparisons: Mapping[str, pd.DataFrame], budget: str) -> Table:
    """Lay out the paper's self-supervised method against every other in its place.

    Args:
        comparisons: frames of ``comparisons.compare`` by data set, the own test set first.
        budget: what ``budgets.shared_budget`` says.
    """
    labels = (Column("Network", number=False), Column("Instead of SSTL-M", number=False))
    own, *outside = comparisons.values()
    rows = tuple(
        (
            Text(network_title(row.network)),
            Text(step_title(row.chain_b.rpartition("-")[2])),
            *_tested(row),
            *_elsewhere(row, outside),
        )
        for row in own.itertuples()
    )
    return Table(
        "methods",
        "The paper’s self-supervision against other methods in its place",
        _DELONG,
        (*labels, *map(Column, ("SSTL-M", "instead", *_TESTED)), *_outside_columns(comparisons)),
        rows,
        (_INDEPENDENT, *([budget] if budget else ())),
    )


_TESTED = ("difference", "p", "p, Holm", "detectable")
_DELONG = (
    "AUROC of scores averaged over seeds, on the test images; paired DeLong test, adjusted by Holm over all rows. "
    "“Detectable” is the true difference that these images would show in 80 of 100 such studies at p < 0.05. Outside "
    "sets were seen by no stage; their differences are not tested."
)
_INDEPENDENT = (
    "Patients count as independent, not their images (Obuchowski 1997). Chance in training is no part of this test."
)
_AGAINST = {
    "plain network": "the same backbone without ATTN",
    "no transfer": "the same network without transfer",
    "multi-scale method": "the same network after the paper’s own method",
}
_READING = (
    "Ours: mean ± sd over seeds; below it the 95 % interval from drawing seeds and patients, or patients alone where "
    "there is one seed."
)


def _tested(row: Any) -> tuple[Text, ...]:
    return (
        Text(number(row.auroc)),
        Text(number(row.auroc_b)),
        Text(signed(row.difference), interval(row.low, row.high, difference=True)),
        Text(probability(row.p)),
        Text(probability(row.p_holm)),
        Text(number(row.detectable)),
    )


def _elsewhere(row: Any, outside: Iterable[pd.DataFrame]) -> list[Text]:
    """Return the same comparison on each outside set: the difference with its interval, without a test."""
    cell = (row.network, row.chain, row.network_b, row.chain_b)
    found = [frame.set_index(["network", "chain", "network_b", "chain_b"]) for frame in outside]
    return [
        Text(signed(frame.loc[cell, "difference"]), interval(*frame.loc[cell, ["low", "high"]], difference=True))
        if cell in frame.index
        else MISSING
        for frame in found
    ]


def _outside_columns(datasets: Iterable[str]) -> list[Column]:
    return [Column(name, "difference, outside sets") for name in list(datasets)[1:]]


def _compared(row: Mapping[str, Any], *, reference: bool) -> list[Text]:
    ours = MISSING if is_missing(row["mean"]) else estimate(row)
    if is_missing(row["paper"]):
        paper = NOT_PRINTED
    else:
        star = "*" if row["misprint"] else ""
        gain = "" if reference or is_missing(row["paper_gain"]) else f"gain {signed(row['paper_gain'])}{star}"
        paper = Text(number(row["paper"]), gain)
    gained = {name: row[f"{name}_gain"] for name in ("mean", "sd", "low", "high", "low_seeds", "high_seeds")}
    if reference:
        return [paper, ours, REFERENCE]
    return [paper, ours, MISSING if is_missing(gained["mean"]) else estimate(gained, difference=True)]


def _own(frame: pd.DataFrame, key: Sequence[str], *, difference: bool = False) -> Text:
    key = tuple(key)
    return estimate(frame.loc[key], difference=difference) if key in frame.index else MISSING


def _network(network: str, chain: str, inactive: pd.DataFrame, *, run: bool = True) -> Text:
    """Return a network's title, marked where it was run and its ATTN layers change nothing or were not switched off."""
    if plain(network) == network or not run:
        return Text(network_title(network))
    found = inactive.query("network == @network and chain == @chain")
    if found.empty:
        return Text(network_title(network), "attention not checked")
    change = f"switching ATTN off changes a probability by at most {found['largest'].iloc[0]:.3f}"
    return Text(network_title(network), "attention inactive" if found["inactive"].iloc[0] else "", change)


def _arithmetic_note(row: Any) -> str:
    return (
        f"* {network_title(row.network)}, {chain_title(row.chain)}, {METRIC_TITLES[row.metric]}: the paper prints a "
        f"gain of {row.gain:.3f}; its printed values give {row.difference:.3f}."
    )
