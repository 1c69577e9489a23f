import numpy as np
import pytest
from pydantic import ValidationError

from medtransfer.data.phantom.scanner import CT_OUTSIDE, CXR_SCANNERS
from medtransfer.data.phantom.shortcuts import ShortcutConfig, burn_marker, choose_scanner, marked

COUNT = 3000


def correlation(decide, strength):
    rng, labels = np.random.default_rng(0), np.arange(COUNT) % 2 == 0
    return np.corrcoef(labels, [decide(rng, bool(label), strength) for label in labels])[0, 1]


def first_hospital(rng, positive, strength):
    return choose_scanner(rng, positive, strength, CXR_SCANNERS) is CXR_SCANNERS[0]


@pytest.mark.parametrize("decide", [marked, first_hospital])
def test_strength_zero_is_independence_and_one_is_perfect_correlation(decide):
    assert abs(correlation(decide, 0.0)) < 3 / np.sqrt(COUNT)
    assert correlation(decide, 1.0) == pytest.approx(1.0)


@pytest.mark.parametrize("strength", [0.25, 0.5, 0.75])
def test_marker_correlation_is_the_strength(strength):
    assert correlation(marked, strength) == pytest.approx(strength, abs=3 / np.sqrt(COUNT))


def test_correlation_with_the_hospital_grows_with_the_strength():
    values = [correlation(first_hospital, strength) for strength in (0.0, 0.3, 0.6, 1.0)]
    assert (np.diff(values) > 0.1).all()


def test_a_single_hospital_is_always_chosen():
    chosen = {choose_scanner(np.random.default_rng(n), n % 2 == 0, 1.0, CT_OUTSIDE).source for n in range(6)}
    assert chosen == {CT_OUTSIDE[0].source}


def test_marker_changes_pixels_in_its_box_only_and_in_both_corners():
    blank, lefts = np.zeros((96, 96), dtype=np.uint8), set()
    for seed in range(8):
        image, marker = burn_marker(np.random.default_rng(seed), blank)
        left, top, right, bottom = marker.box
        assert image[top:bottom, left:right].max() == 240
        image[top:bottom, left:right] = 0
        assert not image.any()
        lefts.add(left)
    assert len(lefts) == 2
    assert not blank.any()


def test_strength_beyond_one_is_refused():
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        ShortcutConfig(text_marker=1.5)


@pytest.mark.parametrize(
    ("place", "box"),
    [
        ("upper left", (4, 4, 18, 14)),
        ("lower right", (78, 82, 92, 92)),
        ("left", (4, 43, 18, 53)),
        ("top", (41, 4, 55, 14)),
        ("bottom", (41, 82, 55, 92)),
    ],
)
def test_a_marker_is_where_its_place_says(place, box):
    image, marker = burn_marker(np.random.default_rng(0), np.zeros((96, 96), np.uint8), places=(place,))
    assert marker.box == box
    assert image.max() == 240


def test_a_marker_that_is_not_opaque_lets_the_image_through():
    image, _ = burn_marker(np.random.default_rng(0), np.full((96, 96), 100, np.uint8), opacity=0.5)
    assert set(np.unique(image)) == {100, 170}
