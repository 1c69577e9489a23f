"""Table 1 rebuilt: how well each network learnt its natural source, in top-1 and top-5 accuracy."""

import numpy as np
import pandas as pd

from medtransfer.evaluation.summary import brief, sample
from medtransfer.reporting.content import Column, Table, Text
from medtransfer.reporting.formatting import MISSING, NOT_PRINTED, estimate, is_missing, number
from medtransfer.studies.attentive_transfer.paper.values import network_title, printed_sources
from medtransfer.studies.attentive_transfer.report.results import ReportSettings

ACCURACIES = {"top_1": "Top-1", "top_5": "Top-5"}


def source_frame(predictions: pd.DataFrame, settings: ReportSettings) -> pd.DataFrame:
    """Return one row a network and accuracy of STL-N's own head on the test images of its natural source.

    Columns: ``network, metric, paper, mean, sd, low, high, low_seeds, high_seeds``; NaN where the paper prints nothing
    or nothing was predicted, as for ready-made weights whose classes the source at hand does not have.

    Args:
        predictions: the study's table; a hit among the ``k`` likeliest classes is the value 1 of output ``top_k``.
        settings: networks and intervals.
    """
    rows = []
    for network in settings.networks:
        for metric in ACCURACIES:
            hits = predictions[(predictions["network"] == network) & (predictions["output"] == metric)]
            rows.append({"network": network, "metric": metric} | _summary(hits, settings))
    paper = printed_sources().rename(columns={"value": "paper"})
    return pd.DataFrame(rows).merge(paper, "left", ["network", "metric"])


def source_table(frame: pd.DataFrame, settings: ReportSettings) -> Table:
    """Lay Table 1 out: a row a network, paper beside ours."""
    values = frame.set_index(["network", "metric"])
    rows = tuple(
        (Text(network_title(network)), *(text for m in ACCURACIES for text in _pair(values.loc[(network, m)])))
        for network in settings.networks
    )
    columns = tuple(Column(part, title) for title in ACCURACIES.values() for part in ("paper", "ours"))
    return Table(
        "table1",
        "Table 1 · Accuracy on the natural source",
        "The paper: ImageNet’s validation images. Ours: test images of the natural source configured here, which no "
        "fit has seen; “—” where STL-N is ready-made, as its classes are not those of this source.",
        (Column("Network", number=False), *columns),
        rows,
    )


def _pair(row: pd.Series) -> tuple[Text, Text]:
    paper = NOT_PRINTED if is_missing(row["paper"]) else Text(number(row["paper"]))
    return paper, MISSING if is_missing(row["mean"]) else estimate(row)


def _summary(hits: pd.DataFrame, settings: ReportSettings) -> dict[str, float | None]:
    if hits.empty:
        return dict.fromkeys(("mean", "sd", "low", "high", "low_seeds", "high_seeds"), None)
    wide = hits.pivot(index=["patient_id", "image_id"], columns="seed", values="score")
    patients, scores = wide.index.get_level_values("patient_id").to_numpy(str), wide.to_numpy(float).T
    options = {"thresholds": [0.5] * len(scores), "population": patients}
    found = sample(
        ("accuracy",), np.ones(len(wide)), scores, patients, **options, draws=settings.draws, seed=settings.seed
    )
    return brief(found["accuracy"], seed=settings.seed)
