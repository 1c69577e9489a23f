"""LEEP, NCE and LogME against golden numbers and literal formulas."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from medtransfer.errors import DataError
from medtransfer.evaluation.transferability import leep, logme, nce, transfer_score

CASES = (
    "hand",
    "random_50x5_binary",
    "random_60x12_three_class",
    "constant",
    "empty_column",
    "absent_class",
    "perfect",
)


def softmax(logits):
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def source(seed, images=200, labels=7, classes=3):
    rng = np.random.default_rng(seed)
    target = np.append(np.arange(classes), rng.integers(0, classes, images - classes))
    return softmax(2 * rng.normal(size=(images, labels)) + (target[:, None] == np.arange(labels) % classes)), target


def literal_leep(theta, labels):
    """Nguyen et al. 2020, Eq. 1-2, as written."""
    n, z_count = len(theta), len(theta[0])
    joint = {y: [sum(theta[i][z] for i in range(n) if labels[i] == y) / n for z in range(z_count)] for y in set(labels)}
    total = 0.0
    for i in range(n):
        expected = 0.0
        for z in range(z_count):
            marginal = sum(row[z] for row in joint.values())
            expected += joint[labels[i]][z] / marginal * theta[i][z] if marginal else 0.0
        total += math.log(expected)
    return total / n


@pytest.mark.parametrize("case", CASES)
def test_leep_and_its_bounds_equal_the_golden_numbers(golden, case):
    gold = golden("leep")["cases"][case]
    scores = leep(gold["theta"], gold["labels"])
    assert scores.nats == pytest.approx(gold["leep_nats"], abs=1e-10)
    assert scores.bits == pytest.approx(gold["leep_bits"], abs=1e-10)
    assert scores.minus_label_entropy == pytest.approx(gold["minus_label_entropy_nats"], abs=1e-10)
    assert scores.minus_conditional_entropy == pytest.approx(gold["minus_conditional_entropy_nats"], abs=1e-10)
    assert scores.dropped == (case == "empty_column")


@pytest.mark.parametrize("seed", range(4))
def test_leep_equals_its_formula_written_out(seed):
    theta, target = source(seed)
    assert leep(theta, target).nats == pytest.approx(literal_leep(theta.tolist(), target.tolist()), abs=1e-12)


def test_single_precision_agrees_with_double_to_a_millionth_on_a_thousand_labels():
    theta, target = source(0, images=3000, labels=1000, classes=2)
    assert leep(theta.astype(np.float32), target).nats == pytest.approx(leep(theta, target).nats, abs=1e-6, rel=0)


def test_table_6_of_the_paper_fits_bits_and_no_other_unit(golden):
    """The training images of COVID-CT: 191 with and 234 without; every printed value must lie above -H(Y) (M-13)."""
    target = np.repeat([1, 0], [191, 234])
    lowest = leep(np.full((425, 3), 1 / 3), target)
    assert lowest.bits == pytest.approx(golden("leep")["covid_ct_lowest_bits"]["train"], abs=1e-10)
    assert lowest.nats > -0.865 > -0.918 > lowest.bits


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), labels=st.integers(1, 12), classes=st.integers(2, 5))
def test_leep_lies_between_its_bounds_and_ignores_the_order_of_source_labels_or_images(seed, labels, classes):
    theta, target = source(seed, images=40, labels=labels, classes=classes)
    scores = leep(theta, target)
    assert 1e-12 >= scores.nats >= scores.minus_conditional_entropy - 1e-12
    assert scores.minus_conditional_entropy >= scores.minus_label_entropy - 1e-12
    rng = np.random.default_rng(seed)
    order = rng.permutation(40)
    assert leep(theta[order][:, rng.permutation(labels)], target[order]).nats == pytest.approx(scores.nats, abs=1e-12)


def test_permuted_target_labels_are_worth_no_more_than_a_constant_source():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 4000)
    theta = softmax(3 * np.eye(3)[target] + rng.normal(size=(4000, 3)))
    own, shuffled = leep(theta, target), leep(theta, rng.permutation(target))
    assert own.nats > -0.45
    assert shuffled.nats == pytest.approx(shuffled.minus_label_entropy, abs=2e-3)


def test_nce_is_the_conditional_entropy_of_hard_source_labels():
    labels, predicted = [0, 0, 1, 1, 1, 0], [4, 4, 4, 9, 9, 9]
    third = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    assert nce(predicted, labels) == pytest.approx(-third, abs=1e-14)
    assert nce(labels, labels) == pytest.approx(0)
    assert nce([5] * 6, labels) == pytest.approx(-math.log(2))


def test_leep_of_a_source_that_is_always_certain_is_nce():
    rng = np.random.default_rng(1)
    target, predicted = rng.integers(0, 3, 90), rng.integers(0, 4, 90)
    assert leep(np.eye(4)[predicted], target).nats == pytest.approx(nce(predicted, target), abs=1e-12)


def literal_evidence(features, y, alpha, beta):
    """log N(y; 0, F Fᵀ / α + I / β) / n: the weights of the regression integrated out (You et al. 2021, Eq. 2)."""
    covariance = features @ features.T / alpha + np.eye(len(y)) / beta
    return multivariate_normal(np.zeros(len(y)), covariance).logpdf(y) / len(y)


@pytest.mark.parametrize(("images", "width"), [(30, 4), (12, 25)])
def test_logme_is_the_largest_evidence_over_both_precisions(images, width):
    rng = np.random.default_rng(width)
    target = np.arange(images) % 2
    features = rng.normal(size=(images, width)) + 0.8 * target[:, None]

    def worst(logs, k):
        return -literal_evidence(features, (target == k).astype(float), *np.exp(logs))

    best = [-minimize(worst, [0.0, 0.0], args=(k,), method="Nelder-Mead", options={"xatol": 1e-6}).fun for k in (0, 1)]
    assert logme(features, target) == pytest.approx(np.mean(best), abs=1e-6)


def iterated_logme(features, target):
    """Alg. 3 of You et al. 2021 with both precisions updated in turn, on the singular value decomposition."""
    u, s, _ = np.linalg.svd(features, full_matrices=False)
    n, width = features.shape
    sigma, evidences = np.zeros(width), []
    sigma[: len(s)] = s**2
    for k in np.unique(target):
        y = (target == k).astype(float)
        x = np.zeros(width)
        x[: len(s)] = (u.T @ y) ** 2
        outside, alpha, beta = y @ y - x.sum(), 1.0, 1.0
        for _ in range(200):
            t = alpha / beta
            gamma = (sigma / (sigma + t)).sum()
            alpha = gamma / (sigma * x / (sigma + t) ** 2).sum()
            beta = (n - gamma) / ((x / (1 + sigma / t) ** 2).sum() + outside)
        t = alpha / beta
        length = (sigma * x / (sigma + t) ** 2).sum()
        residual = (x / (1 + sigma / t) ** 2).sum() + outside
        log_determinant = np.log(alpha + beta * sigma).sum()
        evidence = width * math.log(alpha) + n * math.log(beta / 2 / math.pi) - log_determinant
        evidences.append((evidence - beta * residual - alpha * length) / 2 / n)
    return np.mean(evidences)


@pytest.mark.parametrize(("images", "width"), [(60, 10), (40, 64)])
def test_logme_equals_the_published_iteration(images, width):
    rng = np.random.default_rng(images)
    target = np.arange(images) % 3
    features = rng.normal(size=(images, width)) + np.eye(3)[target] @ rng.normal(size=(3, width))
    assert logme(features, target) == pytest.approx(iterated_logme(features, target), abs=1e-7)


def test_logme_finds_the_larger_of_two_maxima_where_the_iteration_depends_on_the_scale():
    """One direction is a thousand times as long as the one that holds the label."""
    rng = np.random.default_rng(0)
    target = np.arange(60) % 2
    features = np.column_stack([1e3 * rng.normal(size=60), target + 0.1 * rng.normal(size=60)])
    maxima = {scale: iterated_logme(scale * features, target) for scale in (1e-3, 1.0)}
    assert maxima[1.0] - maxima[1e-3] > 0.1
    for scale in maxima:
        assert logme(scale * features, target) >= max(maxima.values()) - 1e-7


def test_logme_rises_when_the_features_contain_the_labels_and_ignores_their_scale():
    rng = np.random.default_rng(0)
    target = np.arange(80) % 2
    noise = rng.normal(size=(80, 6))
    informed = noise + 2 * target[:, None] * np.eye(6)[0]
    assert logme(informed, target) > logme(noise, target) + 0.1
    assert logme(1e4 * informed, target) == pytest.approx(logme(informed, target), abs=1e-6)


@pytest.mark.parametrize(
    "features",
    [np.zeros((10, 3)), np.ones((10, 3)), np.full((10, 3), 1e-200), np.eye(10)[:, :4], np.arange(10.0)[:, None] % 2],
    ids=["zero", "constant", "tiny", "fewer directions than images", "the label itself"],
)
def test_logme_of_degenerate_features_is_a_finite_number(features):
    assert math.isfinite(logme(features, np.arange(10) % 2))


def test_one_pass_gives_all_scores_and_counts_what_is_missing():
    theta, target = source(0, labels=5, classes=2)
    theta = np.column_stack([theta, np.zeros(len(theta))])
    features = np.random.default_rng(0).normal(size=(len(target), 4))
    scores, own = transfer_score(features, target, theta, classes=3), leep(theta, target)
    assert (scores.images, scores.source_labels, scores.dropped_source_labels) == (200, 6, 1)
    assert (scores.absent_target_labels, scores.unavailable) == (1, "")
    assert (scores.leep_nats, scores.leep_bits) == (own.nats, own.bits)
    bounds = (own.minus_label_entropy, own.minus_conditional_entropy)
    assert (scores.minus_label_entropy, scores.minus_conditional_entropy) == bounds
    assert (scores.nce, scores.logme) == (nce(theta.argmax(1), target), logme(features, target))


def test_a_source_without_labels_has_logme_alone_and_says_why():
    theta, target = source(0, classes=2)
    features = np.random.default_rng(0).normal(size=(len(target), 4))
    scores = transfer_score(features, target, None, classes=2, unavailable="the source is self-supervised")
    assert (scores.leep_nats, scores.leep_bits, scores.nce, scores.minus_conditional_entropy) == (None,) * 4
    assert (scores.source_labels, scores.unavailable) == (0, "the source is self-supervised")
    assert scores.logme == logme(features, target)
    assert scores.minus_label_entropy == leep(theta, target).minus_label_entropy
    for probabilities, reason in ((None, ""), (theta, "but there are")):
        with pytest.raises(DataError, match="expected source probabilities, or the reason why there are none"):
            transfer_score(features, target, probabilities, classes=2, unavailable=reason)


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.7, -0.3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_that_are_no_probabilities_are_refused_with_their_number(value, dtype):
    theta = np.full((200, 2), 0.5, dtype)
    theta[130, 1] = value
    with pytest.raises(DataError, match=r"row 130 holds no probabilities .*pass softmax outputs, not logits"):
        leep(theta, np.arange(200) % 2)


def test_a_negative_probability_is_refused_even_where_the_row_sums_to_one():
    with pytest.raises(DataError, match="row 1 holds no probabilities"):
        leep([[0.5, 0.5], [1.2, -0.2], [0.5, 0.5]], [0, 1, 0])


def test_labels_and_shapes_that_do_not_fit_are_refused():
    theta, features = np.full((4, 2), 0.5), np.ones((4, 3))
    with pytest.raises(DataError, match="labels hold 1 classes: a score needs two; check the split"):
        leep(theta, [1, 1, 1, 1])
    with pytest.raises(DataError, match="leave out images without a class"):
        leep(theta, [0, 1, -1, 1])
    with pytest.raises(DataError, match=r"shape \(4, 2\), expected \(3, source labels\)"):
        leep(theta, [0, 1, 1])
    with pytest.raises(DataError, match=r"shape \(4, 3\), expected \(3, width\)"):
        logme(features, [0, 1, 1])
    with pytest.raises(DataError, match="features at row 2 are not finite"):
        logme(np.where(np.arange(4)[:, None] == 2, math.nan, features), [0, 1, 0, 1])
    with pytest.raises(DataError, match="pass one label per image"):
        nce([1, 2], [0, 1, 1])
    with pytest.raises(DataError, match="class number 2, expected numbers below 2"):
        transfer_score(features, [0, 1, 2, 1], theta, classes=2)
