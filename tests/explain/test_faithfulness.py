import numpy as np
import pytest

from medtransfer.explain.faithfulness import curves
from medtransfer.explain.localisation import overlap
from medtransfer.explain.sanity import likeness

SIDE = 8


def corner(images):
    """A score that reads the upper left quarter alone."""
    return images[:, 0, :4, :4].mean((1, 2))


@pytest.fixture
def images():
    return np.ones((3, 1, SIDE, SIDE))


def heat(good):
    rising = np.zeros((3, SIDE, SIDE))
    rising[:, :4, :4] = 1 if good else -1
    return rising


def test_curves_of_the_best_and_the_worst_order_are_known(images):
    best, worst = (curves(images, heat(good), corner, baseline=np.zeros(1)) for good in (True, False))
    assert best.deletion_area == pytest.approx(0.25 / 2)  # falls to 0 at a quarter of the pixels
    assert best.insertion_area == pytest.approx(1 - 0.25 / 2)
    assert worst.deletion_area == pytest.approx(1 - 0.25 / 2)
    assert worst.insertion_area == pytest.approx(0.25 / 2)


def test_curves_begin_and_end_with_the_image_and_the_baseline(images):
    found = curves(images, heat(True), corner, baseline=np.zeros(1), steps=4)
    assert found.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert (found.deletion[0], found.deletion[-1], found.insertion[0], found.insertion[-1]) == (1, 0, 0, 1)


def test_a_flat_map_is_a_random_order(images):
    found = curves(images, np.zeros((3, SIDE, SIDE)), corner, baseline=np.zeros(1))
    assert found.deletion_area == pytest.approx(0.5, abs=0.1)


def test_overlap_counts_as_many_of_the_hottest_pixels_as_the_region_has():
    region = np.zeros((2, 4, 4), bool)
    region[0, 0, :4] = True
    warm = np.zeros((2, 4, 4))
    warm[0, 0, :2], warm[0, 3, :2] = 1, 1
    assert overlap(warm, region) == pytest.approx(2 / 6)
    assert overlap(np.where(region, 1.0, 0.0), region) == 1
    assert overlap(np.zeros((2, 4, 4)), region) == pytest.approx(1 / 7)  # 4 of 16 at random: one is inside
    assert overlap(warm, np.zeros_like(region)) is None


def test_likeness_is_a_rank_correlation_and_flat_maps_are_like_none():
    maps = np.random.default_rng(0).random((4, 8, 8))
    assert likeness(maps, maps**3) == pytest.approx(1)
    assert likeness(maps, 1 - maps) == pytest.approx(-1)
    assert likeness(maps, np.zeros_like(maps)) == 0
    assert abs(likeness(maps, np.random.default_rng(1).random((4, 8, 8)))) < 0.15
