import numpy as np
import pytest

from medtransfer.explain.regions import FALLBACKS, SLICES, region_case, sheet_places


def test_the_sheet_shows_evenly_spaced_slices_from_the_first_to_the_last():
    places = sheet_places(np.ones(29, dtype=bool))
    assert places == [0, 4, 8, 12, 16, 20, 24, 28]
    assert len(places) == SLICES


def test_slices_without_lungs_are_added_up_to_a_few_and_none_is_shown_twice():
    found = np.ones(29, dtype=bool)
    found[[4, 5, 6]] = False
    assert sheet_places(found)[SLICES:] == [5]
    found[4] = True
    found[7] = False
    assert sheet_places(found)[SLICES:] == [5, 6]
    assert FALLBACKS == 2


@pytest.mark.parametrize("count", [1, 3])
def test_few_slices_are_all_shown(count):
    assert sheet_places(np.ones(count, dtype=bool)) == list(range(count))


def test_a_region_is_cut_out_where_its_box_lies_and_resized_to_the_slice():
    image = np.zeros((16, 16), dtype=np.uint8)
    image[:8, :8] = 255
    boxes = np.array([[0, 0, 8, 8], [8, 8, 16, 16]], dtype=np.float32)
    case = region_case(image, boxes, image > 0, found=True)
    assert case.crops.shape == (2, 16, 16)
    assert case.crops[0, :14, :14].min() == pytest.approx(1)
    assert case.crops[1, 2:, 2:].max() == 0
    assert case.title == ""
    assert region_case(image, boxes, image > 0, found=False).title == "no lungs found: whole slice"
