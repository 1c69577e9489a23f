import colorsys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medtransfer.data import photometry
from medtransfer.data.photometry import blur, grayscale, jitter, luma
from medtransfer.data.transforms import AugmentConfig, augment, augmented_view, evaluate_view
from medtransfer.data.windows import copy_windows, crop_boxes, gather_windows, to_unit
from medtransfer.errors import ConfigError

RECIPES = {
    "stl_n": AugmentConfig(crop=24, hflip=0.5),
    "stl_m": AugmentConfig(crop=24, hflip=0.5, translate=0.1, rotate=10, intensity=0.1, each=0.5),
    "sstl_m": AugmentConfig(crop=24, hflip=0.5, jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.5, grayscale=0.5),
    "moco_v1": AugmentConfig(crop=24, crop_style="resized", hflip=0.5, grayscale=0.2, jitter=(0.4, 0.4, 0.4, 0.4)),
    "moco_v2": AugmentConfig(
        crop=24, crop_style="resized", hflip=0.5, grayscale=0.2, jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, blur=0.5
    ),
    "simclr": AugmentConfig(
        crop=24,
        crop_style="resized",
        crop_scale=(0.08, 1.0),
        hflip=0.5,
        grayscale=0.2,
        jitter=(0.8, 0.8, 0.8, 0.2),
        jitter_p=0.8,
        blur=0.5,
    ),
}


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(batch: int, channels: int = 1, side: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (batch, channels, side, side), generator=gen(9), dtype=torch.uint8)


def ramp(batch: int, side: int = 32) -> torch.Tensor:
    """Every pixel tells its own place: channel 0 the column, 1 the row, 2 nothing."""
    place = torch.arange(side, dtype=torch.uint8)
    image = torch.stack([place.expand(side, side), place[:, None].expand(side, side), torch.zeros(side, side).byte()])
    return image.expand(batch, -1, -1, -1).contiguous()


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_every_recipe_gives_three_channels_in_range_and_repeats_itself(recipe, channels, dtype):
    images = random_images(6, channels).to(torch.int32) * (257 if dtype == torch.uint16 else 1)
    images = images.to(dtype)
    first, second = (augment(images, RECIPES[recipe], gen(1)) for _ in range(2))
    assert first.shape == (6, 3, 24, 24)
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 1 + 1e-6
    assert torch.equal(first, second)
    assert not torch.equal(first, augment(images, RECIPES[recipe], gen(2)))


@pytest.mark.parametrize("recipe", RECIPES)
def test_images_of_a_batch_have_draws_of_their_own(recipe):
    same = random_images(1, 3).expand(8, -1, -1, -1)
    assert len(torch.unique(augment(same, RECIPES[recipe], gen()).flatten(1), dim=0)) == 8


@pytest.mark.parametrize("recipe", RECIPES)
def test_grey_images_get_what_three_equal_channels_get(recipe):
    grey = random_images(5)
    one, three = (augment(images, RECIPES[recipe], gen(4)) for images in (grey, grey.expand(-1, 3, -1, -1)))
    torch.testing.assert_close(one, three, atol=2e-6, rtol=0)


@pytest.mark.parametrize("style", ["random", "resized"])
def test_with_everything_off_the_image_is_untouched(style):
    images = random_images(4, 3)
    config = AugmentConfig(crop=32, crop_style=style, crop_scale=(1.0, 1.0))
    result = augment(images, config, gen())
    if style == "resized":  # aspects other than 1 do not fit the full area, so the whole image is taken
        torch.testing.assert_close(result, to_unit(images), atol=1e-5, rtol=0)
    else:
        assert torch.equal(result, to_unit(images))


def test_random_crops_are_windows_and_reach_every_offset():
    cut = (augment(ramp(2000), AugmentConfig(crop=24), gen()) * 255).round()
    left, top = cut[:, 0, 0, 0], cut[:, 1, 0, 0]
    assert torch.equal(cut[:, 0], (left[:, None, None] + torch.arange(24.0)).expand(-1, 24, 24))
    for offset in (left, top):
        counts = torch.bincount(offset.long(), minlength=9)
        assert len(counts) == 9
        assert counts.min() > 2000 / 9 * 0.7
    assert abs(np.corrcoef(left, top)[0, 1]) < 0.1


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_flips_happen_at_their_rate(rate):
    cut = augment(ramp(2000), AugmentConfig(crop=32, hflip=rate), gen())
    assert (cut[:, 0, 0, 0] > cut[:, 0, 0, -1]).float().mean() == pytest.approx(rate, abs=0.04)


def test_sampling_and_copying_flip_alike():
    images = random_images(6)
    copied = augment(images, AugmentConfig(crop=32, hflip=0.5), gen(3))
    sampled = augment(images, AugmentConfig(crop=32, hflip=0.5, rotate=1, each=0), gen(3))
    torch.testing.assert_close(copied, sampled, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_the_gpu_form_of_whole_pixel_crops_cuts_the_same_windows(dtype):
    images = random_images(12, 3) / 255 if dtype.is_floating_point else random_images(12, 3).to(dtype)
    top, left = (torch.randint(9, (12,), generator=gen(seed)) for seed in (1, 2))
    places = top, left, torch.arange(12) % 2 == 0
    assert torch.equal(gather_windows(images, 24, places), copy_windows(images, 24, places))


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_changes_in_place_never_reach_the_callers_images(recipe, dtype):
    images = to_unit(random_images(6, 3)) if dtype.is_floating_point else random_images(6, 3)
    before = images.clone()
    augment(images, RECIPES[recipe], gen(1), mean=(0.5,), std=(0.2,))
    evaluate_view(images, 32, mean=(0.5,), std=(0.2,))
    assert torch.equal(images, before)


def test_translation_and_rotation_stay_within_their_limits_and_are_gated():
    dot = torch.zeros(1000, 1, 33, 33)
    dot[:, :, 15:18, 24:27] = 1  # 9 pixels right of the centre
    config = AugmentConfig(crop=33, translate=0.1, each=0.5)
    moved = _centre_of_mass(augment(dot, config, gen())) - torch.tensor([16.0, 25.0])
    for axis in moved.T:
        assert axis.abs().max() <= 3.3 + 1e-3
        assert (axis.abs() < 1e-3).float().mean() == pytest.approx(0.5, abs=0.06)
    turned = _centre_of_mass(augment(dot, AugmentConfig(crop=33, rotate=30), gen())) - 16
    angle = torch.rad2deg(torch.atan2(turned[:, 0], turned[:, 1]))
    assert angle.min() == pytest.approx(-30, abs=1)
    assert angle.max() == pytest.approx(30, abs=1)
    torch.testing.assert_close(turned.norm(dim=1), torch.full((1000,), 9.0), atol=0.1, rtol=0)


def _centre_of_mass(images: torch.Tensor) -> torch.Tensor:
    weight = images[:, 0] / images[:, 0].sum((1, 2), keepdim=True)
    place = torch.arange(images.shape[-1], dtype=torch.float32)
    return torch.stack([(weight.sum(2) * place).sum(1), (weight.sum(1) * place).sum(1)], 1)


def test_resized_crops_have_the_drawn_area_and_aspect():
    config = AugmentConfig(crop=16, crop_style="resized", crop_scale=(0.2, 0.5))
    cut = augment(ramp(500, side=128).float() / 255, config, gen()) * 255
    # inside the box the ramp is linear, so its slope is the box's side over the result's
    width = (cut[:, 0, 8, 12] - cut[:, 0, 8, 4]) / 8 * 16
    height = (cut[:, 1, 12, 8] - cut[:, 1, 4, 8]) / 8 * 16
    area, aspect = width * height / 128**2, width / height
    assert area.min() == pytest.approx(0.2, abs=0.02)
    assert area.max() == pytest.approx(0.5, abs=0.02)
    assert area.mean() == pytest.approx(0.35, abs=0.02)
    assert aspect.min() == pytest.approx(0.75, abs=0.05)
    assert aspect.max() == pytest.approx(4 / 3, abs=0.05)


def test_intensity_shifts_whole_images_within_the_limit():
    flat = torch.full((1000, 1, 8, 8), 0.5)
    shift = augment(flat, AugmentConfig(crop=8, intensity=0.1, each=0.5), gen())[:, 0, 0, 0] - 0.5
    assert shift.abs().max() == pytest.approx(0.1, abs=0.005)
    assert (shift == 0).float().mean() == pytest.approx(0.5, abs=0.05)


def test_the_evaluation_view_is_the_normalised_centre():
    images = random_images(2)
    view = evaluate_view(images, 20, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1))
    unit = images[:, :, 6:26, 6:26].float() / 255
    for channel, (mean, std) in enumerate([(0.5, 0.2), (0.4, 0.2), (0.3, 0.1)]):
        torch.testing.assert_close(view[:, channel], (unit[:, 0] - mean) / std)


def test_a_crop_larger_than_the_image_is_refused():
    with pytest.raises(ConfigError, match=r"crop 40 is larger than the images \(32 × 32 pixels\)"):
        augment(random_images(1), AugmentConfig(crop=40), gen())
    with pytest.raises(ConfigError, match="lower the crop or pack the data set larger"):
        evaluate_view(random_images(1), 40)


def test_boxes_are_cut_image_major_and_equal_plain_slices():
    images = random_images(2, side=16)
    boxes = torch.tensor([[[0, 0, 8, 8], [8, 0, 16, 8], [4, 2, 12, 10], [0, 8, 8, 16], [8, 8, 16, 16]]] * 2).float()
    regions = crop_boxes(images, boxes, 8)
    expected = [
        image[:, int(y0) : int(y1), int(x0) : int(x1)]
        for image, own in zip(images.float() / 255, boxes, strict=True)
        for x0, y0, x1, y1 in own
    ]
    assert regions.shape == (10, 1, 8, 8)
    # a box of the result's size is a copy, whatever the image's size
    torch.testing.assert_close(regions, torch.stack(expected), atol=1e-6, rtol=0)
    larger = crop_boxes(images, boxes, 16)
    doubled = F.interpolate(torch.stack(expected), 16, mode="bilinear", align_corners=False)
    torch.testing.assert_close(larger[:, :, 1:-1, 1:-1], doubled[:, :, 1:-1, 1:-1], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "box", [(8, 8, 20, 24), (0, 8, 48, 26), (16, 0, 40, 64)], ids=["enlarged", "wide", "shrunk by under 2"]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_box_is_filtered_by_its_own_scale_along_each_axis(box, channels):
    image = torch.rand(1, channels, 64, 64, generator=gen())
    x0, y0, x1, y1 = box
    expected = F.interpolate(image[..., y0:y1, x0:x1], 32, mode="bilinear", antialias=True)
    # beside others, and its neighbours at the edges count here alone
    found = crop_boxes(image, torch.tensor([[box, (0, 0, 64, 64), (0, 0, 9, 9)]]).float(), 32)[:1]
    torch.testing.assert_close(found[..., 3:-3, 3:-3], expected[..., 3:-3, 3:-3], atol=1e-5, rtol=0)


def test_a_box_beyond_the_image_repeats_its_outermost_pixels():
    image = torch.rand(1, 1, 8, 8, generator=gen())
    outside = crop_boxes(image, torch.tensor([[[8.0, 0.0, 12.0, 8.0]]]), 8)
    torch.testing.assert_close(outside, image[..., -1:].expand_as(outside), atol=1e-6, rtol=0)


def test_shrinking_a_box_does_not_alias():
    stripes = torch.zeros(1, 1, 64, 64)
    stripes[..., ::2] = 1
    small = crop_boxes(stripes, torch.tensor([[[0.0, 0.0, 64.0, 64.0]]]), 16)
    torch.testing.assert_close(small[..., 1:-1], torch.full_like(small[..., 1:-1], 0.5), atol=1e-5, rtol=0)
    # at the image's edge the filter is cut off, as in the libraries
    torch.testing.assert_close(small, F.interpolate(stripes, 16, mode="bilinear", antialias=True), atol=1e-5, rtol=0)


def test_luma_and_greyscale_follow_bt_601():
    images = torch.rand(3, 3, 4, 4, generator=gen())
    red, green, blue = images.unbind(1)
    torch.testing.assert_close(luma(images)[:, 0], 0.299 * red + 0.587 * green + 0.114 * blue)
    torch.testing.assert_close(grayscale(images, 1.0, gen()), luma(images).expand(-1, 3, -1, -1))
    assert torch.equal(grayscale(images, 0.0, gen()), images)


def test_hue_turns_as_the_textbook_model_does():
    images = torch.rand(2, 3, 4, 4, generator=gen())
    images[0, :, 0, 0] = 0.3  # grey has no hue to turn
    turned = jitter(images, (0.0, 0.0, 0.0, 0.5), 1.0, gen(5))
    first = images[0, :, 1, 1].tolist(), turned[0, :, 1, 1].tolist()
    turn = colorsys.rgb_to_hsv(*first[1])[0] - colorsys.rgb_to_hsv(*first[0])[0]
    assert abs(turn) > 0.01
    for row in range(4):
        for column in range(4):
            hue, saturation, value = colorsys.rgb_to_hsv(*images[0, :, row, column].tolist())
            expected = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
            assert turned[0, :, row, column].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("step", [0, 1, 2])
def test_brightness_contrast_and_saturation_blend_with_their_factor(step):
    images = torch.rand(400, 3, 4, 4, generator=gen()) * 0.2 + 0.4  # far from clipping
    strengths = [0.0] * 4
    strengths[step] = 0.4
    changed = jitter(images, tuple(strengths), 0.8, gen(6))
    grey = luma(images)
    anchor = (torch.zeros_like(grey), grey.mean((1, 2, 3), keepdim=True), grey)[step]
    factor = ((changed - anchor) * (images - anchor)).sum((1, 2, 3)) / ((images - anchor) ** 2).sum((1, 2, 3))
    torch.testing.assert_close(changed, anchor + factor.view(-1, 1, 1, 1) * (images - anchor), atol=1e-5, rtol=0)
    assert factor.min() == pytest.approx(0.6, abs=0.01)
    assert factor.max() == pytest.approx(1.4, abs=0.01)
    assert ((factor - 1).abs() < 1e-5).float().mean() == pytest.approx(0.2, abs=0.06)


def test_blur_keeps_the_mean_and_smooths_only_the_chosen(monkeypatch):
    monkeypatch.setattr(photometry, "SIGMA", (1.0, 2.0))
    images = torch.rand(200, 1, 24, 24, generator=gen())
    blurred = blur(images, 0.5, gen(2))
    changed = (blurred != images).flatten(1).any(1)
    assert changed.float().mean() == pytest.approx(0.5, abs=0.1)
    assert (blurred.std((1, 2, 3))[changed] < 0.5 * images.std((1, 2, 3))[changed]).all()
    torch.testing.assert_close(blurred.mean((1, 2, 3)), images.mean((1, 2, 3)), atol=0.03, rtol=0)


def test_blur_is_the_gaussian_of_its_sigma(monkeypatch):
    from scipy.ndimage import gaussian_filter

    monkeypatch.setattr(photometry, "SIGMA", (1.5, 1.5))
    image = torch.rand(1, 1, 32, 32, generator=gen())
    blurred = blur(image, 1.0, gen())
    expected = gaussian_filter(image[0, 0].numpy(), 1.5, radius=4, mode="mirror")
    np.testing.assert_allclose(blurred[0, 0], expected, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_gpu_sees_what_the_cpu_sees(recipe):
    images = random_images(6, 3)
    here, there = augment(images, RECIPES[recipe], gen(1)), augment(images.cuda(), RECIPES[recipe], gen(1))
    torch.testing.assert_close(here, there.cpu(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "recipe", [AugmentConfig(crop=24, hflip=0.5), AugmentConfig(crop=32, hflip=0.5, translate=0.1, rotate=10)]
)
def test_a_mask_moves_with_its_image_and_the_draws_stay_the_same(recipe):
    lungs = torch.zeros(16, 32, 32, dtype=torch.bool)
    lungs[:, 6:26, 4:13] = lungs[:, 10:26, 18:30] = True
    images = (lungs[:, None] * 255).to(torch.uint8)
    view = augmented_view(images, recipe, gen(3), lungs=lungs)
    assert view.lungs.dtype == torch.bool
    assert torch.equal(view.lungs, view.image[:, 0] >= 0.5)
    assert torch.equal(view.image, augment(images, recipe, gen(3)))
    assert 0 < view.mirrored.sum() < 16


def test_the_view_says_which_images_are_flipped():
    images = torch.zeros(32, 1, 8, 8, dtype=torch.uint8)
    images[..., :4] = 255
    view = augmented_view(images, AugmentConfig(crop=8, hflip=0.5), gen())
    assert view.lungs is None
    assert torch.equal(view.mirrored, view.image[:, 0, 0, 0] == 0)
