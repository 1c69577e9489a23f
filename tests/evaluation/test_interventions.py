import numpy as np
import pytest

from medtransfer.evaluation.interventions import INACTIVE_BELOW, inactive, probability_change


def test_the_change_of_two_classes_is_that_of_either():
    before, after = np.array([[0.2, 0.8], [0.5, 0.5]]), np.array([[0.3, 0.7], [0.5, 0.5]])
    assert probability_change(before, after) == pytest.approx((0.05, 0.1))
    assert probability_change(before[:, ::-1], after[:, ::-1]) == pytest.approx((0.05, 0.1))


def test_of_more_classes_it_is_what_moves_from_some_to_others():
    assert probability_change(np.array([[1.0, 0.0, 0.0]]), np.array([[0.0, 0.5, 0.5]])) == pytest.approx((1.0, 1.0))


def test_layers_are_inactive_only_below_the_limit():
    assert [inactive(value) for value in (0.0, INACTIVE_BELOW * 0.99, INACTIVE_BELOW)] == [True, True, False]
