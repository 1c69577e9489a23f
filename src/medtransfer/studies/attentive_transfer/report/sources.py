"""Table 1 rebuilt: how well each network learnt its natural source, in top-1 and top-5 accuracy."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medtransfer.evaluation.cells import EvaluationConfig, Row
from medtransfer.evaluation.summary import brief, sample
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import NOT_PRINTED, estimate, labels, number
from medtransfer.studies.attentive_transfer.paper.values import network_title, printed_sources

ACCURACIES = {"top_1": "Top-1", "top_5": "Top-5"}


def source_table(predictions: pd.DataFrame, networks: Sequence[str], evaluation: EvaluationConfig) -> Table:
    """Return Table 1: one row per network, the paper beside ours.

    Args:
        predictions: the study's table; a hit among the ``k`` likeliest classes is the value 1 of output ``top_k``.
            Ready-made weights have none, whose classes the source at hand does not have.
        networks: those of the study.
        evaluation: how intervals are drawn.
    """
    paper = {(row.network, row.metric): row.value for row in printed_sources().itertuples()}
    hits = dict(tuple(predictions[predictions["output"].isin(ACCURACIES)].groupby(["variant", "output"])))
    rows = []
    for network in networks:
        shown = [TableCell(network_title(network))]
        for metric in ACCURACIES:
            key = (network, metric)
            shown.append(TableCell(number(paper[key])) if key in paper else NOT_PRINTED)
            shown.append(estimate(_accuracy(hits[key], evaluation) if key in hits else None))
        rows.append(tuple(shown))
    return Table(
        "table1",
        "Table 1 · Accuracy on the natural source",
        "The paper: ImageNet’s validation images. Ours: test images of the natural source configured here, which no "
        "fit has seen; “—” where STL-N is ready-made, as its classes are not those of this source.",
        (*labels("Network"), *(Column(part, title) for title in ACCURACIES.values() for part in ("paper", "ours"))),
        tuple(rows),
    )


def _accuracy(hits: pd.DataFrame, evaluation: EvaluationConfig) -> Row:
    wide = hits.pivot(index=["patient_id", "image_id"], columns="seed", values="score")
    patients, scores = wide.index.get_level_values("patient_id").to_numpy(str), wide.to_numpy(float).T
    shared = {"draws": evaluation.draws, "seed": evaluation.seed, "population": patients}
    found = sample(("accuracy",), np.ones(len(wide)), scores, patients, thresholds=[0.5] * len(scores), **shared)
    return brief(found["accuracy"], seed=evaluation.seed)
