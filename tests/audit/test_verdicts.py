import numpy as np
import pytest

from medtransfer.audit.rows import Row, auroc_row, excess_row, loss_row, strata_row, unasked
from medtransfer.audit.verdicts import AUROC, DIFFERENCE, conclude, judged, sign


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.71, 0.9, "confounded"),
        (0.70, 0.9, "suspicious"),
        (0.56, 0.6, "suspicious"),
        (0.55, 0.69, "no sign"),
        (0.3, 0.4, "no sign"),
        (0.5, 0.75, "cannot tell"),
        (None, None, "cannot tell"),
    ],
)
def test_the_written_rule(low, high, expected):
    assert sign(low, high, AUROC) == expected


def test_a_difference_has_limits_of_its_own():
    assert [sign(low, low + 0.01, DIFFERENCE) for low in (0.0, 0.03, 0.11)] == ["no sign", "suspicious", "confounded"]


def row(name, expected, reason=""):
    return Row(name, "", sign=expected, reason=reason)


@pytest.mark.parametrize(
    ("signs", "expected"),
    [
        (["no sign", "no sign"], "no sign"),
        (["no sign", "cannot tell"], "cannot tell"),
        (["cannot tell", "suspicious"], "suspicious"),
        (["suspicious", "confounded", "no sign"], "confounded"),
        ([None, "no sign"], "no sign"),
        ([None], "cannot tell"),
        ([], "cannot tell"),
    ],
)
def test_the_verdict_is_the_worst_sign(signs, expected):
    half = conclude([row(f"r{n}", one) for n, one in enumerate(signs)])
    assert half.verdict == expected


def test_a_doubt_hides_no_alarm_but_forbids_no_sign():
    assert conclude([row("a", "no sign")], doubt="only predictions").verdict == "cannot tell"
    assert conclude([row("a", "suspicious")], doubt="only predictions").verdict == "suspicious"


def test_the_reason_names_rows_and_what_was_not_applicable():
    half = conclude([row("border", "confounded"), unasked("markers", "", "no annotation")])
    assert half.reason == "confounded by: border; not applicable: markers"


@pytest.fixture
def scored():
    rng, target = np.random.default_rng(0), np.arange(200) % 2
    return target, target + rng.normal(0, 1, 200), np.arange(200).astype(object)


def test_a_row_has_the_value_and_an_interval_around_it(scored):
    target, score, patients = scored
    one = auroc_row("", "", target, score, patients)
    assert one.low < one.value < one.high
    assert one.images == 200


def test_perfect_order_has_the_bound_of_as_many_patients(scored):
    target, _, patients = scored
    one = auroc_row("", "", target, target.astype(float), patients)
    assert (one.value, one.high) == (1, 1)
    assert one.low == pytest.approx(0.025 ** (1 / 100))
    assert judged(one).sign == "confounded"


def test_ten_images_have_no_interval_and_no_sign(scored):
    target, score, patients = scored
    one = judged(auroc_row("", "", target[:10], score[:10], patients[:10]))
    assert one.sign == "cannot tell"
    assert "too few patients" in one.reason


def test_a_loss_is_paired(scored):
    target, score, patients = scored
    one = loss_row("", "", target, (score, score * 2), patients)
    assert (one.value, one.low, one.high) == (0, 0, 0)
    worse = loss_row("", "", target, (score, np.zeros(200)), patients)
    assert judged(worse, DIFFERENCE).sign == "confounded"


def test_strata_compare_images_of_one_stratum_alone():
    rng, target = np.random.default_rng(0), np.arange(400) % 2
    strata = np.where(rng.random(400) < 0.9, target, 1 - target)
    score, patients = strata + rng.normal(0, 0.3, 400), np.arange(400).astype(object)  # reads the stratum alone
    assert auroc_row("", "", target, score, patients).value > 0.8
    within = strata_row("", "", target, score, patients, strata)
    assert within.low < 0.5 < within.high
    assert judged(excess_row("", "", target, score, patients, strata), DIFFERENCE).sign == "confounded"
