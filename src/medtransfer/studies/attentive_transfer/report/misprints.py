"""Misprints of the paper: those that arithmetic on its own numbers finds, and a list of the others."""

import math
from collections.abc import Iterator
from typing import Any

from medtransfer.reporting.content import Table, TableCell
from medtransfer.reporting.formatting import METRIC_TITLES, labels, number
from medtransfer.studies.attentive_transfer.paper.margins import covidx_images, text_margins
from medtransfer.studies.attentive_transfer.paper.values import (
    arithmetic_errors,
    chain_title,
    network_title,
    printed,
    step_title,
)
from medtransfer.studies.attentive_transfer.report.transitions import printed_leep

TEST_IMAGES = 203
"""Of COVID-CT, on which the paper's accuracies are taken (section 6.1)."""
TOLERANCE = 0.000501
"""Half a printed digit, as a fraction of 1."""
Row = tuple[str, str, str, str, str]
"""Where it is printed, what it is, what is printed, what its own numbers give, how that is known."""

BY_READING: tuple[Row, ...] = (
    ("Eq. 2", "temperature", "in the positive term alone", "in every term", "He et al. 2020, which it follows"),
    ("Section 6.6", "a group of networks", "R-10", "R-50", "its own Table 5"),
    ("Table 6", "LEEP of resnet101, STL-N", "0.-909", "−0.909", "the cells around it"),
)
"""What no arithmetic finds."""


def misprints_table() -> Table:
    """Return every misprint: gains in tables, margins in the text, counts, accuracies, LEEP, and the list of others."""
    found = (*_gains(), *_margins(), *_counts(), *_accuracies(), *_leep(), *BY_READING)
    names = ("Where", "What", "Printed", "Its own numbers give", "Found by")
    return Table(
        "misprints",
        "Misprints in the paper",
        "What the paper prints and its own numbers contradict, by more than rounding explains. Our differences are "
        "computed from the values beside them.",
        labels(*names),
        tuple(tuple(map(TableCell, row)) for row in found),
    )


def _gains() -> Iterator[Row]:
    for row in arithmetic_errors().itertuples():
        what = f"gain in {METRIC_TITLES[row.metric]}, {network_title(row.network)}, {chain_title(row.chain)}"
        yield f"Table {row.table}", what, _percent(row.gain), _percent(row.difference), "the table’s own values"


def _margins() -> Iterator[Row]:
    margins = text_margins()
    for row in margins[(margins["value"] - margins["difference"]).abs() > TOLERANCE].itertuples():
        yield f"Section {row.section}", _margin(row), _percent(row.value), _percent(row.difference), "Tables 2 to 5"


def _margin(row: Any) -> str:
    titles = [network_title(network) for network in row.networks]
    networks = titles[0] if len(titles) == 1 else f"mean over {', '.join(titles)}"
    what = {
        "attention": "ATTN over convolution",
        "method": f"SSTL-M over {step_title(row.chain.rpartition('-')[2])}",
        "benefit": f"what ATTN adds to the gain of {chain_title(row.chain)}",
    }[row.contrast]
    return f"{what}, {METRIC_TITLES[row.metric]}, {networks}"


def _counts() -> Iterator[Row]:
    images = covidx_images()
    total = images["total"]
    added = sum(count for name, count in images.items() if name != "total")
    if total != added:
        yield "Section 6.1", "images of COVIDx", f"{total:,}", f"{added:,}", "the sum of its three classes"


def _accuracies() -> Iterator[Row]:
    """Accuracies of one run are shares of the test images; means over runs need not be."""
    values = printed().query("metric == 'accuracy'").drop_duplicates(["network", "chain"])["value"]
    odd = int(sum(abs(value - round(value * TEST_IMAGES) / TEST_IMAGES) > TOLERANCE for value in values))
    if odd:
        what = f"accuracy on {TEST_IMAGES} test images, with no word on runs"
        yield "Tables 2 to 5", what, f"{len(values)} values", f"{odd} are no share of {TEST_IMAGES}", "division"


def _leep() -> Iterator[Row]:
    """No LEEP on two classes lies below that of a constant source, at the lowest −ln 2 nats."""
    lowest, bound = min(printed_leep().values()), -math.log(2)
    if lowest < bound:
        what = "LEEP on two classes, without a unit"
        found = f"in nats none is below {number(bound)}; bits fit"
        yield "Table 6", what, f"down to {number(lowest)}", found, "−log 2 ≤ −H(Y) ≤ LEEP"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
