"""Misprints in the paper: those that arithmetic on its own numbers reveals, and a list of the others."""

import math
from collections.abc import Iterator
from typing import Any

from medtransfer.reporting.content import Table, TableCell
from medtransfer.reporting.formatting import METRIC_TITLES, labels, number
from medtransfer.studies.attentive_transfer.paper.margins import covidx_images, text_margins
from medtransfer.studies.attentive_transfer.paper.values import arithmetic_errors, printed
from medtransfer.studies.attentive_transfer.report.transitions import printed_leep
from medtransfer.studies.attentive_transfer.titles import chain_title, network_title, step_title

TEST_IMAGES = 203
"""Test images of COVID-CT, on which the paper's accuracies are measured (section 6.1)."""
TOLERANCE = 0.000501
"""Half a printed digit, as a fraction of 1."""
Row = tuple[str, str, str, str, str]
"""Place, quantity, printed value, value from the paper's own numbers, source of that value."""

BY_READING: tuple[Row, ...] = (
    ("Eq. 2", "temperature", "only in the positive term", "in every term", "He et al. 2020, which it follows"),
    ("Section 6.6", "a group of networks", "R-10", "R-50", "its own Table 5"),
    ("Table 6", "LEEP of resnet101, STL-N", "0.-909", "−0.909", "the cells around it"),
)
"""Misprints that no arithmetic reveals."""


def misprints_table() -> Table:
    """Return every misprint: gains in tables, margins in the text, counts, accuracies, LEEP, and the list above."""
    rows = (*_gains(), *_margins(), *_counts(), *_accuracies(), *_leep(), *BY_READING)
    names = ("Where", "What", "Printed", "Its own numbers give", "Source")
    return Table(
        "misprints",
        "Misprints in the paper",
        "Printed values that the paper’s own numbers contradict by more than rounding explains. Our differences are "
        "computed from the values next to them.",
        labels(*names),
        tuple(tuple(map(TableCell, row)) for row in rows),
    )


def _gains() -> Iterator[Row]:
    for row in arithmetic_errors().itertuples():
        quantity = f"gain in {METRIC_TITLES[row.metric]}, {network_title(row.network)}, {chain_title(row.chain)}"
        yield f"Table {row.table}", quantity, _percent(row.gain), _percent(row.difference), "the table’s own values"


def _margins() -> Iterator[Row]:
    margins = text_margins()
    for row in margins[(margins["value"] - margins["difference"]).abs() > TOLERANCE].itertuples():
        yield f"Section {row.section}", _margin(row), _percent(row.value), _percent(row.difference), "Tables 2 to 5"


def _margin(row: Any) -> str:
    titles = [network_title(network) for network in row.networks]
    networks = titles[0] if len(titles) == 1 else f"mean over {', '.join(titles)}"
    quantity = {
        "attention": "ATTN over convolution",
        "method": f"SSTL-M over {step_title(row.chain.rpartition('-')[2])}",
        "benefit": f"what ATTN adds to the gain of {chain_title(row.chain)}",
    }[row.contrast]
    return f"{quantity}, {METRIC_TITLES[row.metric]}, {networks}"


def _counts() -> Iterator[Row]:
    images = covidx_images()
    total = images["total"]
    added = sum(count for name, count in images.items() if name != "total")
    if total != added:
        yield "Section 6.1", "images of COVIDx", f"{total:,}", f"{added:,}", "the sum of its three classes"


def _accuracies() -> Iterator[Row]:
    """Check accuracies: those of one run are multiples of 1 ÷ test images; means over runs need not be."""
    values = printed().query("metric == 'accuracy'").drop_duplicates(["network", "chain"])["value"]
    odd = int(sum(abs(value - round(value * TEST_IMAGES) / TEST_IMAGES) > TOLERANCE for value in values))
    if odd:
        quantity = f"accuracy on {TEST_IMAGES} test images, number of runs not stated"
        given = f"{odd} are not multiples of 1/{TEST_IMAGES}"
        yield "Tables 2 to 5", quantity, f"{len(values)} values", given, "division"


def _leep() -> Iterator[Row]:
    """Check LEEP on two classes: none is below that of a constant source, which is at least −ln 2 nats."""
    lowest, bound = min(printed_leep().values()), -math.log(2)
    if lowest < bound:
        quantity = "LEEP on two classes, without a unit"
        expected = f"in nats none is below {number(bound)}; bits fit"
        yield "Table 6", quantity, f"down to {number(lowest)}", expected, "−log 2 ≤ −H(Y) ≤ LEEP"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
