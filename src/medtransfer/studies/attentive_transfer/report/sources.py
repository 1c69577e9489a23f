"""Table 1 reproduced: top-1 and top-5 accuracy of each network on its natural source."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medtransfer.evaluation.cells import EvaluationConfig, Row
from medtransfer.evaluation.summary import brief, sample
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import NOT_PRINTED, estimate, labels, number
from medtransfer.studies.attentive_transfer.paper.values import printed_sources
from medtransfer.studies.attentive_transfer.titles import network_title

ACCURACIES = {"top_1": "Top-1", "top_5": "Top-5"}


def source_table(predictions: pd.DataFrame, networks: Sequence[str], evaluation: EvaluationConfig) -> Table:
    """Return Table 1: one row per network, with the paper's values and ours.

    Args:
        predictions: the study's table; output ``top_k`` is 1 where the true class is among the ``k`` most likely.
            Ready-made weights have no rows: their classes are not those of the configured source.
        networks: the networks of the study.
        evaluation: how intervals are computed.
    """
    paper = {(row.network, row.metric): row.value for row in printed_sources().itertuples()}
    hits = dict(tuple(predictions[predictions["output"].isin(ACCURACIES)].groupby(["variant", "output"])))
    rows = []
    for network in networks:
        cells = [TableCell(network_title(network))]
        for metric in ACCURACIES:
            key = (network, metric)
            cells.append(TableCell(number(paper[key])) if key in paper else NOT_PRINTED)
            cells.append(estimate(_accuracy(hits[key], evaluation) if key in hits else None))
        rows.append(tuple(cells))
    return Table(
        "table1",
        "Table 1 · Accuracy on the natural source",
        "The paper: ImageNet’s validation images. Ours: test images of the natural source configured here, which no "
        "fit has seen; “—” if STL-N is ready-made, because its classes are not those of this source.",
        (*labels("Network"), *(Column(part, title) for title in ACCURACIES.values() for part in ("paper", "ours"))),
        tuple(rows),
    )


def _accuracy(hits: pd.DataFrame, evaluation: EvaluationConfig) -> Row:
    wide = hits.pivot(index=["patient_id", "image_id"], columns="seed", values="score")
    patients, scores = wide.index.get_level_values("patient_id").to_numpy(str), wide.to_numpy(float).T
    shared = {"draws": evaluation.draws, "seed": evaluation.seed, "population": patients}
    samples = sample(("accuracy",), np.ones(len(wide)), scores, patients, thresholds=[0.5] * len(scores), **shared)
    return brief(samples["accuracy"])
