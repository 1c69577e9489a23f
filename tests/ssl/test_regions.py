import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medtransfer.data.phantom.poses import draw_posed
from medtransfer.errors import DataError
from medtransfer.losses.regions import REGIONS
from medtransfer.ssl.regions import AXIAL_BOXES, REFERENCE_BOXES, boundary_map, coverage, locate

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "boundary.json").read_text())


def plain_loop(image):
    height, width = image.shape
    boundary = np.zeros(image.shape, dtype=bool)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            boundary[y, x] = len(set(image[y - 1 : y + 2, x - 1 : x + 2].ravel().tolist())) > 1
    return boundary


def slice_of_a_chest(size=128, *, shift=0):
    """Two dark ellipses in a bright one on dark air; returns the image and the lungs' bounding box."""
    y, x = np.mgrid[:size, :size]
    ellipse = lambda cx, cy, rx, ry: ((x - cx - shift) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1  # noqa: E731
    lungs = ellipse(46, 64, 14, 26) | ellipse(82, 64, 14, 26)
    image = np.where(ellipse(64, 64, 52, 44), 190, 10)
    image[lungs] = 50
    rows, columns = np.flatnonzero(lungs.any(axis=1)), np.flatnonzero(lungs.any(axis=0))
    return image.astype(np.uint8), np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def outer_box(located):
    corners = located.boxes.reshape(len(located.boxes), -1, 2, 2)
    return np.concatenate([corners[:, :, 0].min(axis=1), corners[:, :, 1].max(axis=1)], axis=1)


def test_boundary_map_gives_the_golden_contour():
    expected = np.array(GOLDEN["boundary"], dtype=bool)
    assert np.array_equal(boundary_map(np.array(GOLDEN["image"])), expected)


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 2)))
def test_boundary_map_equals_the_plain_loop(image):
    assert np.array_equal(boundary_map(image), plain_loop(image))


def test_reference_boxes_cover_the_lungs_and_stay_inside_in_anatomical_order():
    x, y, w, h = REFERENCE_BOXES.T
    assert len(REFERENCE_BOXES) == len(REGIONS)
    for side in (slice(0, 3), slice(3, 5)):
        top, bottom = (y - h / 2)[side], (y + h / 2)[side]
        assert top[0] == pytest.approx(0, abs=1e-6)
        assert bottom[-1] == pytest.approx(1, abs=1e-6)
        # each border lies in both neighbours: 0.05 to either side of it
        assert bottom[:-1] - top[1:] == pytest.approx(0.1, abs=1e-6)
    assert np.allclose((x - w / 2), [0, 0, 0, 0.5, 0.5])
    assert np.allclose((x + w / 2), [0.5, 0.5, 0.5, 1, 1])


def test_axial_boxes_stay_inside_the_lungs_box_and_leave_no_gap():
    x, y, w, h = AXIAL_BOXES.T
    assert np.allclose(np.stack([x - w / 2, x + w / 2]), [[0, 0, 0, 0.5, 0.5], [0.5, 0.5, 0.5, 1, 1]])
    top, bottom = y - h / 2, y + h / 2
    assert np.allclose(top[[0, 1, 3]], 0, atol=1e-6)  # what lies before the oblique fissure starts at the front
    assert np.allclose(bottom[[2, 4]], 1)  # what lies behind it ends at the back
    assert bottom[0] > top[2]
    assert bottom[3] > top[4]


@pytest.mark.parametrize("shift", [-8, 0, 7])
def test_boxes_follow_the_lungs(shift):
    image, expected = slice_of_a_chest(shift=shift)
    located = locate(image[None])
    assert located.found.tolist() == [True]
    assert located.boxes.shape == (1, 5, 4)
    assert located.boxes.dtype == np.float32
    assert np.abs(outer_box(located)[0] - expected).max() <= 2


def test_frames_a_table_and_burnt_in_text_do_not_move_the_boxes():
    image, expected = slice_of_a_chest()
    for disturbed in (framed(image), with_table(image), with_text(image)):
        located = locate(disturbed[None])
        assert located.found.all()
        assert np.abs(outer_box(located)[0] - expected).max() <= 3


def framed(image):
    changed = image.copy()
    changed[:5], changed[:, -4:] = 255, 255
    return changed


def with_table(image):
    changed = image.copy()
    changed[114:117] = 220
    return changed


def with_text(image):
    changed = image.copy()
    changed[4:12, 4:8] = changed[4:6, 4:12] = 255
    return changed


def test_a_lung_that_a_tight_crop_cuts_is_still_a_lung():
    image, (x0, y0, x1, y1) = slice_of_a_chest()
    located = locate(image[None, 30:98, 40:100].copy())
    assert located.found.all()
    expected = [max(x0 - 40, 0), y0 - 30, min(x1 - 40, 60), y1 - 30]
    assert np.abs(outer_box(located)[0] - expected).max() <= 3


@pytest.mark.parametrize("value", [0, 128, 255])
def test_without_lungs_the_whole_image_is_used_and_said_so(value):
    located = locate(np.full((2, 40, 60), value, dtype=np.uint8))
    assert located.found.tolist() == [False, False]
    assert outer_box(located).tolist() == [[0, 0, 60, 40]] * 2


def test_images_without_lungs_are_counted_in_the_log(caplog):
    image, _ = slice_of_a_chest()
    locate(np.stack([image, np.zeros_like(image), image]))
    assert caplog.messages == ["locate: 1 of 3 images show no lungs; the whole image is used in their place"]
    caplog.clear()
    locate(image[None])
    assert not caplog.messages


def test_a_box_under_a_tenth_of_the_image_is_not_believed():
    image, _ = slice_of_a_chest()
    wide = np.full((400, 400), 10, dtype=np.uint8)
    wide[136:264, 136:264] = image
    assert locate(wide[None]).found.tolist() == [False]


def test_boxes_stay_inside_any_image():
    noise = np.random.default_rng(0).integers(0, 256, (8, 48, 64), dtype=np.uint8)
    boxes = locate(noise).boxes
    assert boxes.min() >= 0
    assert boxes[..., 2].max() <= 64
    assert boxes[..., 3].max() <= 48
    assert (boxes[..., 2:] > boxes[..., :2]).all()


def test_an_empty_stack_gives_empty_boxes():
    located = locate(np.zeros((0, 8, 8), dtype=np.uint8))
    assert located.boxes.shape == (0, 5, 4)
    assert located.found.shape == (0,)


def test_locate_refuses_what_is_no_stack_of_grey_images():
    with pytest.raises(
        DataError, match=r"locate: images are uint8 of shape \(2, 3, 8, 8\), expected uint8 \[N, H, W\]"
    ):
        locate(np.zeros((2, 3, 8, 8), dtype=np.uint8))


def literal_coverage(masks, boxes):
    inside, total = np.zeros((2, len(masks), 5), dtype=int)
    for image, mask in enumerate(masks):
        for y, x in np.argwhere(mask & 7):
            lobe = (mask[y, x] & 7) - 1
            x0, y0, x1, y1 = boxes[image, lobe]
            total[image, lobe] += 1
            inside[image, lobe] += x0 <= x + 0.5 < x1 and y0 <= y + 0.5 < y1
    return inside, total


def test_coverage_equals_the_literal_count():
    rng = np.random.default_rng(0)
    masks = rng.choice(np.array([0, 1, 2, 3, 4, 5, 9, 13], dtype=np.uint8), (3, 12, 10))
    corner = rng.uniform(0, 6, (3, 5, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 6, (3, 5, 2))], axis=2).astype(np.float32)
    found, (inside, total) = coverage(masks, boxes), literal_coverage(masks, boxes)
    assert np.array_equal(found.inside, inside)
    assert np.array_equal(found.total, total)
    assert found.share()["lu"] == pytest.approx(inside[:, 3].sum() / total[:, 3].sum())


def test_a_lobe_that_no_slice_shows_has_no_coverage():
    masks = np.full((2, 4, 4), 3, dtype=np.uint8)
    boxes = np.tile(np.array([0, 0, 4, 2], dtype=np.float32), (2, 5, 1))
    assert coverage(masks, boxes).share() == {"ru": None, "rm": None, "rl": 0.5, "lu": None, "ll": None}


@pytest.mark.parametrize(("kind", "least"), [("upright", 0.85), ("tilted", 0.80), ("collapsed", 0.75)])
def test_axial_boxes_cover_every_lobe_of_phantoms_and_reference_boxes_do_not(kind, least):
    drawn = draw_posed(kind, count=120, seed=1)
    images, masks = np.stack([p.image for p in drawn]), np.stack([p.mask for p in drawn])
    axial, reference = (locate(images, table=table) for table in ("axial", "reference"))
    assert axial.found.all()
    shares = coverage(masks, axial.boxes).share()
    assert min(shares.values()) > least, shares
    assert coverage(masks, reference.boxes).share()["rm"] < 0.5
