import numpy as np
import pytest

from medtransfer.audit.cases import frame
from medtransfer.errors import DataError

from .conftest import SIDE, blobs


def test_the_border_is_an_eighth_of_the_side_wide():
    border = frame((32, 64))
    inside = np.zeros((32, 64), bool)
    inside[4:-4, 8:-8] = True
    np.testing.assert_array_equal(border, ~inside)


def test_lungs_are_no_part_of_the_border():
    lungs = np.zeros((240, SIDE, SIDE), bool)
    lungs[:, 0:16, 8:24] = True
    cases = blobs(lungs=lungs)
    assert not (cases.border & lungs).any()
    assert cases.border[0, 0, 0]


def test_the_margin_of_the_lungs_grows_with_the_image(clean):
    assert clean.wide_lungs[0].sum() == (16 + 2) ** 2


def test_surroundings_are_outside_the_lungs_of_both_images():
    lungs = np.zeros((240, SIDE, SIDE), bool)
    lungs[0, 10:20, 10:15], lungs[1, 10:20, 18:25] = True, True
    cases = blobs(lungs=lungs)
    both = cases.surroundings(np.roll(np.arange(240), -1))[0]
    assert not both[10:20, 10:15].any()
    assert not both[10:20, 18:25].any()
    assert both[[16, 5], [2, 16]].all()


def test_without_masks_surroundings_are_the_border():
    cases = blobs(lungs=None)
    np.testing.assert_array_equal(
        cases.surroundings(np.arange(240)), np.broadcast_to(frame((SIDE, SIDE)), (240, 32, 32))
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": np.zeros(3, int)}, "target has 3 entries for 240 images"),
        ({"target": np.full(240, 2)}, "neither 0 nor 1"),
        ({"attributes": {"source": np.array(["a"], object)}}, "source has 1 entries"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        blobs(**changes)
