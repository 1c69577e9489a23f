import math

import pytest

from medtransfer.errors import ConfigError
from medtransfer.training.selection import SelectionConfig

NAN = math.nan


@pytest.mark.parametrize(
    ("mode", "new", "old", "better"),
    [
        ("max", 0.8, 0.7, True),
        ("max", 0.7, 0.8, False),
        ("max", 0.7, 0.7, False),
        ("min", 0.1, 0.2, True),
        ("min", 0.2, 0.1, False),
        ("max", NAN, 0.1, False),
        ("min", NAN, 0.1, False),
    ],
)
def test_the_better_value_wins(mode, new, old, better):
    assert SelectionConfig(metric="m", mode=mode).is_better({"m": new}, {"m": old}) is better


@pytest.mark.parametrize(("value", "better"), [(0.0, True), (NAN, False)])
def test_the_first_value_wins_unless_it_is_undefined(value, better):
    assert SelectionConfig(metric="m").is_better({"m": value}, None) is better


@pytest.mark.parametrize(("new", "better"), [(0.9, True), (0.6, False), (0.5, False), (NAN, False)])
@pytest.mark.parametrize("mode", ["max", "min"])
def test_among_equals_the_larger_tie_metric_wins(mode, new, better):
    selection = SelectionConfig(metric="m", mode=mode, tie="t")
    assert selection.is_better({"m": 1.0, "t": new}, {"m": 1.0, "t": 0.6}) is better


@pytest.mark.parametrize("selection", [{"metric": "val/auc"}, {"metric": "val/auroc", "tie": "val/auc"}])
def test_a_metric_that_does_not_exist_is_refused_before_it_is_needed(selection):
    with pytest.raises(ConfigError, match="'val/auc' is not computed here; there are val/auroc, val/f1"):
        SelectionConfig(**selection).is_better({"val/f1": 1.0, "val/auroc": 0.5}, None)
