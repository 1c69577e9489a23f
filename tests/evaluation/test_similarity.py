import itertools
import math

import numpy as np
import pytest

from medtransfer.errors import DataError
from medtransfer.evaluation.checks import Floats, UndefinedMetricWarning
from medtransfer.evaluation.similarity import linear_cka


def pair(images: int, widths: tuple[int, int], seed: int = 0) -> tuple[Floats, Floats]:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(images, widths[0])) + 3
    mixed = x[:, : min(widths)] @ generator.normal(size=(min(widths), widths[1]))
    return x, mixed + generator.normal(size=(images, widths[1]))


def literal_cka(x: Floats, y: Floats) -> float:
    """Kornblith et al. 2019, equations 1 to 3: traces of centred Gram matrices."""
    n = len(x)
    centre = np.eye(n) - np.ones((n, n)) / n

    def hsic(a: Floats, b: Floats) -> float:
        return float(np.trace(a @ a.T @ centre @ b @ b.T @ centre)) / (n - 1) ** 2

    return hsic(x, y) / math.sqrt(hsic(x, x) * hsic(y, y))


def literal_unbiased(x: Floats, y: Floats) -> float:
    """Song et al. 2012: HSIC as sums over tuples of different images (their equation 4), by brute force."""
    n = len(x)

    def hsic(a: Floats, b: Floats) -> float:
        k, m = a @ a.T, b @ b.T
        pairs = np.mean([k[i, j] * m[i, j] for i, j in itertools.permutations(range(n), 2)])
        fours = np.mean([k[i, j] * m[q, r] for i, j, q, r in itertools.permutations(range(n), 4)])
        threes = np.mean([k[i, j] * m[i, q] for i, j, q in itertools.permutations(range(n), 3)])
        return float(pairs + fours - 2 * threes)

    return hsic(x, y) / math.sqrt(hsic(x, x) * hsic(y, y))


@pytest.mark.parametrize("widths", [(3, 5), (60, 4), (50, 70)])
def test_cka_is_the_literal_formula_by_either_product(widths: tuple[int, int]) -> None:
    x, y = pair(20, widths)
    assert linear_cka(x, y) == pytest.approx(literal_cka(x, y), rel=1e-10)


@pytest.mark.parametrize("widths", [(2, 3), (12, 9)])
def test_unbiased_cka_is_the_sum_over_different_images(widths: tuple[int, int]) -> None:
    x, y = pair(8, widths)
    assert linear_cka(x, y, unbiased=True) == pytest.approx(literal_unbiased(x, y), rel=1e-9)


@pytest.mark.parametrize("unbiased", [False, True])
def test_rotation_factor_and_offset_do_not_matter(unbiased: bool) -> None:
    x, y = pair(30, (6, 6))
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
    assert linear_cka(x, 5 * x @ rotation + 2, unbiased=unbiased) == pytest.approx(1, abs=1e-12)
    assert linear_cka(x, y @ rotation, unbiased=unbiased) == pytest.approx(linear_cka(x, y, unbiased=unbiased))
    assert linear_cka(x, y, unbiased=unbiased) == pytest.approx(linear_cka(y, x, unbiased=unbiased))


def test_many_features_of_few_images_look_alike_unless_unbiased() -> None:
    values = []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        x, y = generator.normal(size=(40, 2000)), generator.normal(size=(40, 2000))
        assert linear_cka(x, y) > 0.9
        values.append(linear_cka(x, y, unbiased=True))
    assert abs(np.mean(values)) < 0.02


@pytest.mark.parametrize("unbiased", [False, True])
def test_features_that_do_not_vary_have_no_similarity(unbiased: bool) -> None:
    x, _ = pair(10, (3, 3))
    with pytest.warns(UndefinedMetricWarning, match="cka is undefined: features do not vary"):
        assert np.isnan(linear_cka(x, np.full((10, 2), 0.1), unbiased=unbiased))


def test_wrong_features_are_refused() -> None:
    x, _ = pair(10, (3, 3))
    with pytest.raises(DataError, match=r"features of 10 and 9 images, expected the same images"):
        linear_cka(x, x[1:])
    with pytest.raises(DataError, match=r"features of 3 and 3 images, .* at least 4"):
        linear_cka(x[:3], x[:3], unbiased=True)
    with pytest.raises(DataError, match=r"second has shape \(10, 3, 1\), expected \[images, features\]"):
        linear_cka(x, x[..., None])
    with pytest.raises(DataError, match="first holds numbers that are not finite"):
        linear_cka(np.where(x > 3, np.nan, x), x)
