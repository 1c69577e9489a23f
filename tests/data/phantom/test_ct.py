import numpy as np
import pytest

from medtransfer.data.phantom import ct_anatomy
from medtransfer.data.phantom.ct import CtConfig, draw_ct
from medtransfer.data.phantom.record import LOBES, lesions, lungs
from medtransfer.data.phantom.scanner import CT_OUTSIDE, CT_SCANNERS
from medtransfer.data.phantom.shapes import square_grid


def draw(number, label="covid", scanner=CT_SCANNERS[0], **parameters):
    patient, image = np.random.default_rng([1, number]), np.random.default_rng([2, number])
    return draw_ct(patient, image, label, scanner, CtConfig(**parameters))


def anatomy(number=0, **rates):
    return ct_anatomy.sample_anatomy(
        np.random.default_rng(number), **({"missing_rate": 0.0, "collapsed_rate": 0.0} | rates)
    )


def lobes_of(anatomy, level):
    grid = anatomy.place(square_grid(96, 38.0))
    return grid, ct_anatomy.lobe_map(anatomy, grid, level, ct_anatomy.lung_depth(anatomy, grid, level) > 0)


@pytest.mark.parametrize("size", [48, 96])
def test_image_and_mask_have_the_asked_size_and_type(size):
    phantom = draw(0, size=size)
    assert phantom.image.shape == phantom.mask.shape == (size, size)
    assert phantom.image.dtype == phantom.mask.dtype == np.uint8


def test_same_streams_give_the_same_image_and_others_do_not():
    assert (draw(3).image == draw(3).image).all()
    assert (draw(3).mask == draw(3).mask).all()
    assert (draw(3).image != draw(4).image).any()


@pytest.mark.parametrize("number", range(12))
def test_lesions_lie_in_lobes_and_lobes_partition_the_lungs(number):
    mask = draw(number, scanner=(*CT_SCANNERS, *CT_OUTSIDE)[number % 4]).mask
    assert lesions(mask).any()
    assert lungs(mask)[lesions(mask)].all()
    assert set(np.unique(mask & 7)) <= {0, *LOBES.values()}
    assert (mask < 16).all()


def test_negatives_have_no_lesion_in_the_mask():
    assert not any(lesions(draw(number, "non-covid").mask).any() for number in range(12))


@pytest.mark.parametrize("number", range(8))
def test_right_lung_lies_at_the_left_of_the_image(number):
    lobe = draw(number).mask & 7
    columns = np.arange(lobe.shape[1])[None, :] + 0 * lobe
    assert columns[(lobe >= 1) & (lobe <= 3)].mean() < columns[lobe >= 4].mean()


@pytest.mark.parametrize("number", range(8))
def test_upper_lobes_lie_before_lower_lobes(number):
    grid, lobe = lobes_of(anatomy(number), 0.4)
    for upper, lower in (("ru", "rl"), ("lu", "ll")):
        assert grid.y[lobe == LOBES[upper]].mean() < grid.y[lobe == LOBES[lower]].mean()


def test_middle_lobe_takes_the_place_of_the_upper_lobe_further_down():
    patients = [anatomy(number) for number in range(10)]
    share = [
        np.mean([(lobes_of(patient, level)[1] == LOBES["rm"]).sum() for patient in patients]) for level in (0.3, 0.7)
    ]
    assert share[0] < 0.2 * share[1]


def test_where_upper_and_middle_lobe_share_a_slice_the_upper_one_lies_in_front_and_at_the_side():
    """The horizontal fissure falls towards the front and the side (Raasch et al. 1982)."""
    offsets = []
    for patient in map(anatomy, range(30)):
        for level in (0.46, 0.52, 0.58):
            grid, lobe = lobes_of(patient, level)
            upper, middle = lobe == LOBES["ru"], lobe == LOBES["rm"]
            if min(upper.sum(), middle.sum()) > 30:
                offsets.append([c[upper].mean() - c[middle].mean() for c in (grid.x, grid.y)])
    x, y = np.mean(offsets, axis=0)
    assert len(offsets) > 20
    assert y < -1
    assert x < 0


@pytest.mark.parametrize("lobe", list(LOBES))
def test_missing_lobe_is_nowhere_and_the_lungs_keep_their_outline(lobe):
    whole = next(a for a in (anatomy(n, missing_rate=1.0) for n in range(99)) if a.missing == lobe)
    for level in (0.3, 0.5, 0.7):
        grid, lobes = lobes_of(whole, level)
        assert not (lobes == LOBES[lobe]).any()
        assert ((lobes > 0) == (ct_anatomy.lung_depth(whole, grid, level) > 0)).all()


@pytest.mark.parametrize("lobe", list(LOBES))
def test_collapsed_lobe_is_smaller(lobe):
    shrunk = next(a for a in (anatomy(n, collapsed_rate=1.0) for n in range(99)) if a.collapsed == lobe)
    healthy = type(shrunk)(**{**vars(shrunk), "collapsed": None})
    area = [sum((lobes_of(a, level)[1] == LOBES[lobe]).sum() for level in (0.4, 0.6, 0.8)) for a in (shrunk, healthy)]
    assert 0 < area[0] < area[1]


def test_patients_are_turned_and_lobes_are_lost_at_the_given_rates():
    patients = [anatomy(number, missing_rate=0.2, collapsed_rate=0.3) for number in range(400)]
    turns = np.array([patient.turn for patient in patients])
    assert np.abs(turns).max() > 8
    assert np.std(turns) == pytest.approx(6, abs=1)
    assert np.mean([patient.missing is not None for patient in patients]) == pytest.approx(0.2, abs=0.06)
    assert np.mean([patient.collapsed is not None for patient in patients]) == pytest.approx(0.3, abs=0.07)
    assert not any(patient.missing and patient.collapsed for patient in patients)


def test_visibility_scales_the_contrast_of_lesions_and_nothing_else():
    plain, strong = draw(5, visibility=0.0), draw(5, visibility=1.0)
    assert (plain.mask == strong.mask).all()
    added = strong.image.astype(float) - plain.image
    inside = lesions(plain.mask)
    assert added[inside].mean() > 15
    assert np.abs(added[~lungs(plain.mask)]).mean() < 2


def test_hospitals_differ_in_grey_levels():
    means = [np.mean([draw(n, scanner=scanner).image.mean() for n in range(6)]) for scanner in CT_SCANNERS]
    assert max(means) - min(means) > 8
