"""The table of names."""

import numpy as np
import pytest

from medtransfer.evaluation.metrics import METRICS

LOWER_IS_BETTER = {"brier", "ece", "mse", "mae", "macro_ece", "macro_mse"}


@pytest.mark.parametrize("name", METRICS)
def test_every_name_gives_the_better_value_to_the_better_prediction(name):
    rng = np.random.default_rng(0)
    classes = 8 if name.startswith(("macro", "top")) else 2
    target = np.arange(160) % classes
    noise = rng.dirichlet(np.ones(classes), 160)
    good, bad = 0.9 * np.eye(classes)[target] + 0.1 * noise, noise
    if classes == 2:
        good, bad = good[:, 1], bad[:, 1]
    better, worse = METRICS[name](target, good), METRICS[name](target, bad)
    assert (better < worse) if name in LOWER_IS_BETTER else (better > worse)
