import numpy as np
import pytest

from look_fixtures import smooth
from medtransfer.data import near as search
from medtransfer.data.looks import Looks, make_looks, orient
from medtransfer.data.near import near_duplicates


def different(i, j):
    return i != j


def found(images, **options):
    near = near_duplicates(make_looks(images), np.arange(len(images)), different, least=0.945, **options)
    return set(zip(near.i.tolist(), near.j.tolist(), strict=True)), near


CHANGES = {
    "crop": lambda image: image[:, 5:-5, 5:-5],
    "crop at two sides": lambda image: image[:, 4:, 4:],
    "border": lambda image: np.pad(image, ((0, 0), (6, 6), (6, 6)), constant_values=255),
    "inverted": lambda image: 255 - image,
    "darker": lambda image: (image * 0.6).astype(np.uint8),
    "text": lambda image: np.where(np.arange(96) % 4 < (np.arange(96)[:, None] < 9) * 2, 255, image).astype(np.uint8),
    **{f"orientation {code}": lambda image, code=code: orient(image, code) for code in range(8)},
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_nothing_else(change):
    images = smooth(12)
    copies = [CHANGES[change](image) for image in images]
    pairs, _ = found([*images, *copies])
    assert pairs == {(k, k + 12) for k in range(12)}


def test_only_pairs_that_count_are_searched():
    looks = make_looks([*smooth(4), *smooth(4)])
    near = near_duplicates(looks, np.array([4, 5]), lambda i, j: (i == 4) | (j == 4), least=0.945)
    assert (near.i.tolist(), near.j.tolist()) == ([0], [4])


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_images_have_no_pairs(count):
    pairs, near = found(smooth(2)[:count])
    assert pairs == set()
    assert near.cut == 0


def test_plain_images_resemble_nothing_and_are_counted():
    pairs, near = found(np.full((5, 1, 40, 40), 7, np.uint8))
    assert pairs == set()
    assert near.plain == 5


def test_a_crowd_of_copies_is_bounded_and_said():
    images = np.repeat(smooth(1), 60, axis=0)
    pairs, near = found(images)
    assert near.candidates <= 60 * search.NEAREST
    assert near.cut > 0
    assert {row for pair in pairs for row in pair} == set(range(60))


def test_cells_find_what_comparing_all_finds(monkeypatch):
    images = [*smooth(60), *(image[:, 3:-3, 3:-3] for image in smooth(60))]
    all_pairs, _ = found(images)
    monkeypatch.setattr(search, "CELL", 20)
    pairs, _ = found(images)
    assert len(pairs) >= 0.95 * len(all_pairs) >= 0.95 * 60


def test_the_radius_shrinks_with_the_number_of_images():
    def radius(count):
        values = np.random.default_rng(0).normal(size=(count, 32)).astype(np.float32) * 2
        tags = (np.zeros(count, np.int8) for _ in range(3))
        entries = search._Entries(values, np.arange(count), *tags)
        return search._radius(entries, entries)

    assert radius(100) == search.RADIUS[1]  # all pairs can be registered
    assert radius(1_000) == search.RADIUS[1]
    assert radius(2_000) > radius(100_000) >= search.RADIUS[0]


def test_the_radius_of_rare_distances_gives_about_the_budget():
    """Far below the sample's resolution its smallest distance would let in several times as many."""

    def entries(count):
        values = np.random.default_rng(2).normal(size=(count, 4)).astype(np.float32) * 160
        return search._Entries(values, np.arange(count), *(np.zeros(count, np.int8) for _ in range(3)))

    one = entries(150_000)
    radius = search._radius(one, one)
    pairs = pairs_within(one.values, radius)
    assert search.BUDGET / 3 <= pairs <= search.BUDGET * 3


def pairs_within(values, radius):
    """Return what a tree counts within a squared radius: pairs in both orders."""
    from scipy.spatial import cKDTree

    tree = cKDTree(values)
    return tree.count_neighbors(tree, np.sqrt(radius)) - len(values)


def test_candidates_are_dropped_while_they_are_collected(monkeypatch):
    images = [image for image in smooth(30) for _ in range(4)]
    whole, near = found(images)
    monkeypatch.setattr(search, "HELD", 50)
    pairs, again = found(images)
    assert pairs == whole
    assert (again.candidates, again.cut) == (near.candidates, near.cut)


def test_stored_arrays_are_enough():
    looks = make_looks(smooth(3))
    assert looks.thumbnails.shape == (3, 64, 64)
    assert looks.spectra.shape == (3, 3, 80)
    again = Looks(looks.thumbnails.copy(), looks.spectra.copy())
    assert len(near_duplicates(again, np.arange(3), different, least=0.945).i) == 0
