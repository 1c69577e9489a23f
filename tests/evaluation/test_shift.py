"""Statistics of training images: what is unlike them, how often images like them are called so, and the file."""

import numpy as np
import pytest

from medtransfer.errors import CheckpointError, DataError
from medtransfer.evaluation.shift import ASPECT, COLOUR, GREY, LEAST, SIDE, Seen, fit_shift, read_shift, write_shift

WIDTH = 24
CENTRES = np.random.default_rng(5).normal(0, 4, (2, WIDTH))
MIX = np.random.default_rng(6).normal(0, 1, (WIDTH, WIDTH))


def seen(count, *, seed, known=True, **changed):
    """Images of two classes with correlated features, grey levels around 100 and files of 200 to 400 pixels."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, count)
    features = CENTRES[labels] + draw.normal(0, 1, (count, WIDTH)) @ MIX
    numbers = {name: draw.uniform(80, 120, count) for name in GREY}
    numbers |= {SIDE: np.log2(draw.uniform(200, 400, count)), ASPECT: draw.uniform(-0.3, 0.3, count)}
    numbers[COLOUR] = np.zeros(count)
    if not known:
        numbers |= {name: np.full(count, np.nan) for name in (SIDE, ASPECT, COLOUR)}
    numbers |= {name: np.full(count, value) for name, value in changed.items()}
    return Seen(features, numbers), labels


@pytest.fixture(scope="module")
def shift():
    return fit_shift(*seen(400, seed=0), seen(200, seed=1)[0])


def test_at_most_one_in_twenty_images_like_the_training_is_flagged(shift):
    flagged = [bool(reasons) for reasons in shift.unlike(seen(2000, seed=2)[0])]
    assert 0 < np.mean(flagged) <= 0.05


def test_the_limit_is_that_of_validation_not_of_training():
    train, labels = seen(40, seed=0)
    shift = fit_shift(train, labels, seen(200, seed=1)[0])
    assert shift.farthest > 1.2 * shift.distances(train.features).max()


def test_features_off_the_classes_are_unlike_though_no_single_one_is(shift):
    own, _ = seen(200, seed=3)
    swapped = np.random.default_rng(4).permuted(own.features, axis=0)  # every column as before, their relation not
    reasons = shift.unlike(Seen(swapped, own.numbers))
    assert np.mean([any("features" in reason for reason in each) for each in reasons]) > 0.95


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (SIDE, 11.0, "shorter side in pixels 2048, expected 1"),
        (ASPECT, 2.0, "width : height 4.00, expected 0."),
        (COLOUR, 1.0, "in colour"),
        (GREY[1], 200.0, "median grey level 200, expected 7"),
        (GREY[4], 0.0, "standard deviation of grey levels 0, expected 7"),
    ],
)
def test_a_number_outside_the_range_is_named_with_the_range(shift, name, value, said):
    ((reason, *_),) = shift.unlike(seen(1, seed=9, **{name: value})[0])
    assert reason.startswith(said)


def test_what_is_not_known_is_not_judged(shift):
    unknown, _ = seen(50, seed=7, known=False)
    assert sum(map(bool, shift.unlike(unknown))) <= 5
    without = fit_shift(unknown, np.full(50, -1), seen(60, seed=8, known=False)[0])
    assert set(without.ranges) == set(LEAST) - {SIDE, ASPECT, COLOUR}
    assert len(without.means) == 1


def test_the_file_gives_the_same_answers_and_damage_is_said(shift, tmp_path):
    file = tmp_path / "shift.safetensors"
    write_shift(shift, file)
    content = file.read_bytes()
    again = read_shift(file)
    images, _ = seen(100, seed=3)
    assert again.unlike(images) == shift.unlike(images)
    np.testing.assert_array_equal(again.distances(images.features), shift.distances(images.features))
    write_shift(shift, file)
    assert file.read_bytes() == content
    file.write_bytes(content[:200])
    with pytest.raises(CheckpointError, match="damaged"):
        read_shift(file)
    assert read_shift(tmp_path / "absent") is None


def test_few_validation_images_give_no_limit():
    with pytest.raises(DataError, match="38 validation images, expected at least 39"):
        fit_shift(*seen(100, seed=0), seen(38, seed=1)[0])
