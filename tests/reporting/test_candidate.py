"""The temperatures of a candidate are those of the report, and 1 where validation rows determine none."""

import numpy as np
import pandas as pd
import pytest

from medtransfer.evaluation.calibration import fit_temperature
from medtransfer.evaluation.predictions import prediction_rows
from medtransfer.reporting.candidate import temperatures

COUNT = 80


def validation(score, target):
    number = np.arange(COUNT)
    images = pd.DataFrame({"image_id": [f"cxr/{n}" for n in number], "patient_id": [f"cxr:{n}" for n in number]})
    images = images.assign(dataset="cxr", split="val", source="a", view="", date=pd.NaT)
    names = {"study": "multitask_vit", "variant": "multitask", "condition": "pooled", "seed": 0}
    return prediction_rows(images, score[:, None], target[:, None], outputs=["covid"], kind="probability", **names)


def test_a_temperature_is_that_of_the_validation_rows():
    draw = np.random.default_rng(0)
    target = np.arange(COUNT) % 2.0
    score = np.clip(draw.normal(0.3 + 0.4 * target, 0.3), 0.01, 0.99)
    found = temperatures(validation(score, target))
    assert found == {"covid": pytest.approx(fit_temperature(target, score))}
    assert found["covid"] not in (1.0, 0.0)


def test_scores_that_are_no_probabilities_have_no_temperature():
    target = np.arange(COUNT) % 2.0
    rows = validation(np.full(COUNT, 0.4), target)
    severity = rows.assign(output="score", kind="value", score=3.0, target=6 * target)
    assert temperatures(pd.concat([rows, severity])).keys() == {"covid"}


def test_rows_that_determine_no_temperature_give_1():
    target = np.arange(COUNT) % 2.0
    assert temperatures(validation(0.4 + 0.2 * target, target)) == {"covid": 1.0}
    assert temperatures(validation(np.full(COUNT, 0.4), np.zeros(COUNT))) == {"covid": 1.0}
    unknown = np.full(COUNT, np.nan)
    assert temperatures(validation(np.full(COUNT, 0.4), unknown)) == {"covid": 1.0}
