"""Golden numbers and small predictions tables."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medtransfer.evaluation.predictions import prediction_rows
from medtransfer.evaluation.weighted import Metric, Weights

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def golden() -> Callable[[str], dict[str, Any]]:
    return lambda name: json.loads((GOLDEN / f"{name}.json").read_text())


@pytest.fixture
def weighted() -> Callable[..., float]:
    """A metric of rows that weigh ``[rows]`` each."""

    def value(metric: Metric, target: Any, score: Any, weight: Any) -> float:
        return float(metric.prepare(target, score)(Weights(np.asarray(weight)[:, None], np.arange(len(weight))))[0])

    return value


def image_rows(count: int, split: str = "test", dataset: str = "ct", *, per_patient: int = 1) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "dataset": dataset,
            "split": split,
            "image_id": [f"{dataset}/{split}{i}" for i in range(count)],
            "patient_id": [f"{dataset}:{split}{i // per_patient}" for i in range(count)],
            "source": "hospital",
            "view": "",
            "date": pd.Timestamp("2020-03-01"),
        }
    )


@pytest.fixture
def images() -> Callable[..., pd.DataFrame]:
    return image_rows


@pytest.fixture
def fit_rows() -> Callable[..., pd.DataFrame]:
    """Build the rows of one fit from ``[images]`` or ``[images, outputs]`` scores and targets."""

    def build(
        scores: Any,
        targets: Any,
        *,
        split: str = "test",
        dataset: str = "ct",
        outputs: tuple[str, ...] = ("covid",),
        kind: str = "probability",
        variant: str = "plain",
        condition: str = "stl_n",
        seed: int = 0,
        intervention: str = "",
        per_patient: int = 1,
    ) -> pd.DataFrame:
        scores = np.asarray(scores, float).reshape(-1, len(outputs))
        return prediction_rows(
            image_rows(len(scores), split, dataset, per_patient=per_patient),
            scores,
            np.asarray(targets, float).reshape(scores.shape),
            outputs=outputs,
            kind=kind,
            study="attentive_transfer",
            variant=variant,
            condition=condition,
            seed=seed,
            intervention=intervention,
        )

    return build
