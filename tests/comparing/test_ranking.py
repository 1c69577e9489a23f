"""A ranking says who is worse, who cannot be told apart, and which difference could be shown at all."""

import math

import numpy as np
import pandas as pd
import pytest

from medtransfer.comparing.question import Question
from medtransfer.comparing.ranking import ALIKE, HIGHEST, WORSE, ranking, smallest_difference
from medtransfer.evaluation.predictions import prediction_rows

QUESTION = Question(task="binary", columns=("label",), outputs=("well", "ill"), positive="ill")


def predictions(shifts, *, patients, seeds=3, known=True):
    rng = np.random.default_rng(0)
    target = np.arange(patients) % 2
    images = pd.DataFrame(
        {
            "dataset": "own",
            "split": "test",
            "image_id": [f"own/{n:03d}" for n in range(patients)],
            "patient_id": [f"own:{n}" if known else "" for n in range(patients)],
            "source": "",
            "view": "",
            "date": pd.NaT,
        }
    )
    noise, tables = rng.normal(size=patients), []
    for variant, shift in shifts.items():
        for seed in range(seeds):
            score = 1 / (1 + np.exp(-(noise + rng.normal(0, 0.3, patients) + shift * target)))
            tables.append(
                prediction_rows(
                    images, score[:, None], target[:, None], outputs=["ill"], kind="probability", study="compare",
                    variant=variant, condition="random", seed=seed,
                )
            )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def test_the_worse_and_the_alike_are_told_apart():
    places = ranking(predictions({"good": 2.0, "near": 1.95, "weak": 0.0}, patients=120), QUESTION)
    assert [place.cell.variant for place in places] == ["good", "near", "weak"]
    assert [place.verdict for place in places] == [HIGHEST, ALIKE, WORSE]
    smallest = smallest_difference(places)
    assert 0.01 < smallest < places[2].behind["mean"]


def test_what_could_be_shown_needs_a_larger_difference_than_the_interval():
    near = ranking(predictions({"good": 2.0, "near": 1.9}, patients=120), QUESTION)[1]
    width = near.behind["mean"] - near.behind["low_seeds"]
    assert near.detectable > width > 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"patients": 20}, "too few patients"),
        ({"patients": 120, "known": False}, "no patient ids"),
        ({"patients": 120, "seeds": 1}, "one seed"),
    ],
)
def test_without_an_interval_nothing_is_distinguishable(options, reason):
    places = ranking(predictions({"good": 2.0, "weak": 0.0}, **options), QUESTION)
    assert places[1].verdict == ALIKE
    assert reason in places[1].reason
    assert math.isnan(smallest_difference(places))
