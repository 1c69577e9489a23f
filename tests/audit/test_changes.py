import numpy as np

from medtransfer.audit.changes import GRID, exchange_surroundings, fill, lenders, occlude, shuffle_patches

from .conftest import blobs


def test_a_filled_region_is_alike_in_all_images_and_nothing_else_changes(clean):
    filled = fill(clean.images, clean.lungs)
    assert set(filled[:, 0][clean.lungs]) == {int(np.median(clean.images[:, 0][clean.lungs]))}
    np.testing.assert_array_equal(filled[:, 0][~clean.lungs], clean.images[:, 0][~clean.lungs])


def test_a_region_that_no_image_has_changes_nothing(clean):
    np.testing.assert_array_equal(fill(clean.images, np.zeros_like(clean.lungs)), clean.images)


def test_a_covered_marker_takes_the_level_around_it(stamped):
    covered = occlude(stamped.images, stamped.markers)
    there = stamped.markers.any(axis=(1, 2))
    assert stamped.images[:, 0][stamped.markers].min() == 235
    assert covered[:, 0][stamped.markers].max() < 130
    np.testing.assert_array_equal(covered[~there], stamped.images[~there])


def test_shuffling_keeps_every_patch_and_moves_most(clean):
    shuffled = shuffle_patches(clean.images, seed=0)
    side = clean.images.shape[-1] // GRID

    def patches(image):
        return sorted(
            image[0, y : y + side, x : x + side].tobytes()
            for y in range(0, GRID * side, side)
            for x in range(0, GRID * side, side)
        )

    assert patches(shuffled[0]) == patches(clean.images[0])
    assert (shuffled[0] != clean.images[0]).mean() > 0.5


def test_every_image_lends_once_and_never_to_its_own_patient(clean):
    order = lenders(clean, seed=0)
    assert sorted(order) == list(range(len(clean)))
    assert (clean.patients[order] != clean.patients).all()
    assert abs(np.corrcoef(clean.target, clean.target[order])[0, 1]) < 0.2


def test_exchange_changes_what_is_outside_both_lungs_alone(clean):
    order = lenders(clean, seed=0)
    exchanged = exchange_surroundings(clean, order)
    inside = clean.wide_lungs
    np.testing.assert_array_equal(exchanged[:, 0][inside], clean.images[:, 0][inside])
    np.testing.assert_array_equal(exchanged[:, 0][~inside], clean.images[order][:, 0][~inside])


def test_colour_and_sixteen_bits_are_changed_alike():
    cases = blobs(count=40, images=np.random.default_rng(0).integers(0, 65536, (40, 3, 32, 32)).astype(np.uint16))
    assert fill(cases.images, cases.lungs).dtype == np.uint16
    assert exchange_surroundings(cases, lenders(cases, seed=0)).shape == cases.images.shape
    assert cases.grey.max() <= 1
