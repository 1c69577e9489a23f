import numpy as np
import pytest

from medtransfer.ssl.lungs import lung_mask, otsu


def literal_otsu(values):
    best, level = -1.0, 0
    for t in range(256):
        low, high = values[values <= t], values[values > t]
        if len(low) and len(high):
            between = len(low) * len(high) * (low.mean() - high.mean()) ** 2
            if between > best * (1 + 1e-12):
                best, level = between, t
    return level


@pytest.mark.parametrize("seed", range(4))
def test_otsu_equals_the_literal_search(seed):
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(60, 20, 300), rng.normal(180, 30, 200)]).clip(0, 255).astype(np.uint8)
    assert otsu(values) == literal_otsu(values)


def test_the_mask_holds_two_pieces_at_most_and_no_speck():
    image = np.full((100, 100), 200, dtype=np.uint8)
    image[20:60, 15:35] = image[20:60, 60:80] = image[70:85, 40:55] = 30
    image[90:93, 90:93] = 30
    mask = lung_mask(image)
    assert mask[25:55, 20:30].all()
    assert mask[25:55, 65:75].all()
    assert not mask[65:].any()


def test_the_mask_of_an_even_image_is_empty():
    assert not lung_mask(np.full((30, 30), 77, dtype=np.uint8)).any()


def chest(*, lung, fat, muscle, heart, size=128, radius=1.0):
    """A chest of given grey levels on black air; ``radius`` 1 nearly fills the image. Returns it and the lungs."""
    y, x = (np.mgrid[:size, :size] - size / 2 + 0.5) / (radius * size / 2)
    ellipse = lambda cx, rx, ry: ((x - cx) / rx) ** 2 + (y / ry) ** 2 <= 1  # noqa: E731
    lungs = ellipse(-0.4, 0.25, 0.5) | ellipse(0.4, 0.25, 0.5)
    image = np.zeros((size, size))
    for shape, grey in ((ellipse(0, 0.95, 0.8), fat), (ellipse(0, 0.75, 0.65), muscle), (ellipse(0, 0.13, 0.4), heart)):
        image[shape] = grey
    image[lungs] = lung
    return image.astype(np.uint8), lungs


@pytest.mark.parametrize(
    "looks",
    [
        {"lung": 60, "fat": 150, "muscle": 200, "heart": 210},
        {"lung": 0, "fat": 60, "muscle": 75, "heart": 250},
        {"lung": 60, "fat": 150, "muscle": 200, "heart": 210, "radius": 0.55},
    ],
    ids=["lung window", "soft-tissue window", "wide field of view"],
)
def test_lungs_are_found_in_windows_for_lung_and_for_soft_tissue_and_in_a_wide_field_of_view(looks):
    image, lungs = chest(**looks)
    mask = lung_mask(image)
    assert (mask & lungs).sum() / (mask | lungs).sum() > 0.85
