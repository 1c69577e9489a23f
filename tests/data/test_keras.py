"""Keras' random changes against its own formulas, computed by scipy as Keras computes them."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage

from medtransfer.data.keras import DRAWS, KerasAugmentConfig, KerasLoader, keras_view
from medtransfer.data.manifest import build_manifest
from medtransfer.data.packed import DatasetMeta, PackConfig, PackedDataset

SIDE = 12


@pytest.fixture
def images():
    return torch.from_numpy(np.random.default_rng(0).random((64, 1, SIDE, SIDE))).float()


@pytest.fixture
def data(tmp_path):
    """Eleven images of two classes."""
    entries = [
        {
            "image_id": f"toy/{i}",
            "patient_id": f"toy:{i}",
            "dataset": "toy",
            "path": f"{i}.png",
            "label": "ab"[i % 2],
            "row": i,
        }
        for i in range(11)
    ]
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (11, 1, 18, 18), dtype=np.uint8))
    about = {
        "classes": ("a", "b"),
        "pack": PackConfig(size=18),
        "images": 11,
        "masks": 0,
        "mean": (0.5,),
        "std": (0.25,),
    }
    meta = DatasetMeta(name="toy", **about, statistics_of="all", files={}, content_hash="")
    return PackedDataset(tmp_path, build_manifest(entries), meta)


def draws(**values):
    """Uniform draws of 64 images, some of them fixed for all."""
    table = torch.from_numpy(np.random.default_rng(1).random((64, DRAWS)))
    for place, value in values.items():
        table[:, int(place[1:])] = value
    return table


def view(images, table=None, **recipe):
    return keras_view(images, KerasAugmentConfig(**recipe), draws() if table is None else table)[:, :1]


def as_keras(image, *, turn=0.0, shift=0.0, zooms=(1.0, 1.0)):
    """``apply_affine_transform`` of keras-preprocessing 1.1.2 on one channel: R · T · Z about n / 2 − 0.5."""
    cos, sin = np.cos(turn), np.sin(turn)
    matrix = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    matrix = matrix @ np.array([[1, 0, 0], [0, 1, shift], [0, 0, 1]]) @ np.diag([*zooms, 1])
    centre = SIDE / 2 - 0.5
    there, back = np.eye(3), np.eye(3)
    there[:2, 2], back[:2, 2] = centre, -centre
    matrix = there @ matrix @ back
    return ndimage.affine_transform(image, matrix[:2, :2], matrix[:2, 2], order=1, mode="nearest")


def test_a_whole_number_of_one_shifts_nothing(images):
    assert torch.equal(view(images, width_shift_range=1), images)
    assert not KerasAugmentConfig(width_shift_range=1).changes


def test_one_point_zero_shifts_by_less_than_a_pixel(images):
    moved = view(images, draws(_1=1.0), width_shift_range=1.0)
    assert not torch.allclose(moved, images)
    np.testing.assert_allclose(moved[0, 0], as_keras(images[0, 0], shift=1.0), atol=1e-5)


def test_a_fraction_is_a_share_of_the_width(images):
    moved = view(images, draws(_1=1.0), width_shift_range=0.25)
    np.testing.assert_allclose(moved[0, 0], as_keras(images[0, 0], shift=3.0), atol=1e-5)


def test_whole_numbers_and_lists_draw_whole_pixels_with_a_random_sign(images):
    for spec, sizes in ((3, (0, 1, 2)), ((4.0,), (4,))):
        moved = view(images, width_shift_range=spec)
        possible = [as_keras(images[n, 0], shift=sign * size) for n in range(64) for size in sizes for sign in (-1, 1)]
        each = 2 * len(sizes)
        found = [
            [np.allclose(moved[n, 0], one, atol=1e-5) for one in possible[n * each : (n + 1) * each]] for n in range(64)
        ]
        assert all(any(row) for row in found)
        assert np.any(found, axis=0).all()


def test_rotation_and_zoom_are_one_affine_change_in_keras_order(images):
    moved = view(images, draws(_0=1.0, _3=1.0, _4=0.0, _1=0.5), rotation_range=20.0, zoom_range=0.3)
    expected = as_keras(images[0, 0], turn=np.deg2rad(20), zooms=(0.7, 1.3))
    np.testing.assert_allclose(moved[0, 0], expected, atol=1e-5)


def test_a_channel_shift_stays_within_the_range_of_the_image(images):
    moved = view(images, channel_shift_range=60.0)
    low, high = images.amin((1, 2, 3)), images.amax((1, 2, 3))
    assert (moved.amin((1, 2, 3)) >= low).all()
    assert (moved.amax((1, 2, 3)) <= high).all()
    assert not torch.allclose(moved, images)


def test_half_of_the_images_are_flipped_and_the_others_kept(images):
    moved = view(images, horizontal_flip=True)
    kept, flipped = (moved == images).flatten(1).all(1), (moved == images.flip(-1)).flatten(1).all(1)
    assert (kept | flipped).all()
    assert 16 < int(kept.sum()) < 48


def test_brightness_multiplies_and_cuts_off_without_stretching(images):
    moved = view(images, draws(_7=1.0), brightness_range=(0.5, 1.2))
    torch.testing.assert_close(moved, (images * 1.2).clamp(0, 1))
    stretched = view(images * 0.5, draws(_7=0.5), brightness_range=(1.0, 1.0), stretch=True)
    torch.testing.assert_close(stretched.amax((1, 2, 3)), torch.ones(64))
    torch.testing.assert_close(stretched.amin((1, 2, 3)), torch.zeros(64))


@pytest.mark.parametrize("wrong", [{"width_shift_range": -1}, {"brightness_range": (1.2, 0.5)}, {"zoom_range": 1.0}])
def test_ranges_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValidationError):
        KerasAugmentConfig(**wrong)


def loader(data, **options):
    recipe = KerasAugmentConfig(horizontal_flip=True, brightness_range=(0.5, 1.2))
    return KerasLoader(data, np.arange(11), batch_size=4, seed=3, train=True, crop=16, recipe=recipe, **options)


def test_views_come_in_turn_and_belong_to_the_image(data):
    two = loader(data, views=2)
    seen = [
        {int(row): one for batch in two.epoch(epoch) for row, one in zip(batch["index"], batch["image"], strict=True)}
        for epoch in range(3)
    ]
    shared = seen[0].keys() & seen[1].keys() & seen[2].keys()
    assert shared
    assert all(torch.equal(seen[0][row], seen[2][row]) for row in shared)
    assert not any(torch.equal(seen[0][row], seen[1][row]) for row in shared)


def test_without_views_every_epoch_shows_new_ones(data):
    endless, rows = loader(data), np.arange(11)
    assert not torch.equal(endless.images_of(rows, endless.view_of(0)), endless.images_of(rows, endless.view_of(2)))
    with pytest.raises(IndexError):
        endless.batch(0, endless.steps)


def test_evaluation_sees_the_central_crop_unchanged(data):
    plain = KerasLoader(
        data, np.arange(11), batch_size=4, seed=3, train=False, crop=16, recipe=KerasAugmentConfig(horizontal_flip=True)
    )
    image = torch.cat([batch["image"] for batch in plain.epoch(0)])
    expected = (torch.from_numpy(data.images[:, :, 1:17, 1:17] / 255).float() - 0.5) / 0.25
    torch.testing.assert_close(image[:, :1], expected)
