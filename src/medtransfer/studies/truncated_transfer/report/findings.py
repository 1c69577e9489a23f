"""Every finding of a multi-label task by itself (Fig. 4): what its mean over findings hides."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from medtransfer.evaluation.binary import auroc, average_precision
from medtransfer.evaluation.scorecard import Fits
from medtransfer.reporting.content import Column, Table, Text
from medtransfer.reporting.formatting import MISSING, number
from medtransfer.studies.truncated_transfer.config import Condition
from medtransfer.studies.truncated_transfer.report.names import condition_title, variant_title
from medtransfer.studies.truncated_transfer.report.values import Results


def mean_of_output(
    fits: Fits, output: str, metric: Callable[[ArrayLike, ArrayLike], float] = average_precision
) -> float:
    """Return a metric of one output on its known test images, mean over seeds; NaN where it does not exist."""
    column = fits.outputs.index(output)
    known = ~np.isnan(fits.target[:, column])
    return float(np.mean([metric(fits.target[known, column], scores[known, column]) for scores in fits.scores]))


def findings_table(found: Results) -> Table | None:
    """Lay out AUPRC and AUROC of every finding and variant; nothing where no task has several findings."""
    several = [condition for condition in found.conditions if len(found.config.tasks[condition.task].findings) > 1]
    if not several:
        return None
    rows = [
        _row(found, condition, finding)
        for condition in several
        for finding in found.config.tasks[condition.task].findings
    ]
    labels = (Column("Setting", number=False), Column("Finding", number=False))
    return Table(
        "findings",
        "Every finding by itself (Fig. 4)",
        "AUPRC on the test images, mean over seeds, AUROC below it. With few positives AUROC stays high where AUPRC "
        "falls.",
        (*labels, Column("share of positives"), *(Column(variant_title(variant)) for variant in found.config.variants)),
        tuple(rows),
    )


def _row(found: Results, condition: Condition, finding: str) -> tuple[Text, ...]:
    tested = {
        variant: found.fits[variant, condition]
        for variant in found.config.variants
        if (variant, condition) in found.fits
    }
    fits = next(iter(tested.values()))
    share = np.nanmean(fits.target[:, fits.outputs.index(finding)])
    shown = [_both(tested[variant], finding) if variant in tested else MISSING for variant in found.config.variants]
    return (Text(condition_title(condition)), Text(finding), Text(number(share)), *shown)


def _both(fits: Fits, finding: str) -> Text:
    return Text(number(mean_of_output(fits, finding)), f"AUROC {number(mean_of_output(fits, finding, auroc))}")
