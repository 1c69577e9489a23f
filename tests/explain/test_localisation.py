import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtransfer.explain.localisation import agreement


def literal(heat, region):
    energy, area, ratio, pointing = [], [], [], []
    for one, where in zip(heat, region, strict=True):
        if not where.any() or not one.any():
            continue
        pixels = [(y, x) for y in range(one.shape[0]) for x in range(one.shape[1])]
        inside = sum(one[p] for p in pixels if where[p]) / sum(one[p] for p in pixels)
        share = sum(bool(where[p]) for p in pixels) / len(pixels)
        top = [p for p in pixels if one[p] == max(one[q] for q in pixels)]
        energy, area, ratio = [*energy, inside], [*area, share], [*ratio, inside / share]
        pointing = [*pointing, sum(bool(where[p]) for p in top) / len(top)]
    return [np.mean(values) for values in (energy, area, ratio, pointing)]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_scores_equal_the_literal_loops(seed):
    rng = np.random.default_rng(seed)
    heat = rng.integers(0, 4, (5, 4, 3)) / 3
    region = rng.random((5, 4, 3)) < 0.4
    heat[0], region[0, 0, 0], region[1], heat[2, 1, 1], region[2, 1, 1] = 0, True, False, 1, True
    found = agreement(heat, region)
    assert [found.energy, found.area, found.ratio, found.pointing] == pytest.approx(literal(heat, region))
    assert found.images == sum(bool(r.any() and h.any()) for h, r in zip(heat, region, strict=True))
    assert found.flat == sum(bool(r.any() and not h.any()) for h, r in zip(heat, region, strict=True))


def test_even_heat_scores_chance_and_heat_on_the_region_alone_scores_best():
    region = np.zeros((1, 10, 10), dtype=bool)
    region[0, 2:4, 3:8] = True
    even, exact = agreement(np.ones(region.shape), region), agreement(region.astype(float), region)
    assert (even.energy, even.ratio, even.pointing) == pytest.approx((0.1, 1.0, 0.1))
    assert (exact.energy, exact.ratio, exact.pointing) == pytest.approx((1.0, 10.0, 1.0))


def test_what_cannot_be_scored_is_counted_and_not_a_nan():
    heat, region = np.zeros((2, 3, 3)), np.ones((2, 3, 3), dtype=bool)
    found = agreement(heat, region)
    assert (found.images, found.flat) == (0, 2)
    assert found.energy is found.area is found.ratio is found.pointing is None
    assert agreement(np.ones((2, 3, 3)), np.zeros((2, 3, 3), dtype=bool)).flat == 0
