import math

import pytest

from medtransfer.reporting.formatting import (
    interval,
    number,
    probability,
    signed,
)
from medtransfer.studies.attentive_transfer.titles import chain_title


@pytest.mark.parametrize(
    ("value", "text"), [(0.0104, "+0.010"), (-0.05, "−0.050"), (-0.0001, "0.000"), (None, "—"), (math.nan, "—")]
)
def test_differences_carry_a_sign_unless_they_round_to_zero(value, text):
    assert signed(value) == text


def test_names_are_written_as_the_field_writes_them():
    assert chain_title("none") == "no transfer"
    assert chain_title("none-stl_m") == "STL-M"
    assert chain_title("stl_n-stl_m-sstl_m") == "STL-N → STL-M → SSTL-M"


def test_numbers_that_do_not_exist_leave_no_bracket():
    assert interval(None, 0.3) == ""
    assert interval(-0.1, 0.2, difference=True) == "[−0.100, +0.200]"
    assert number(None) == "—"


def test_tiny_p_values_are_not_printed_as_zero():
    assert probability(1e-9) == "< 0.001"
    assert probability(0.0412) == "0.041"
