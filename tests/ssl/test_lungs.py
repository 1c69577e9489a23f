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
    picture = np.full((100, 100), 200, dtype=np.uint8)
    picture[20:60, 15:35] = picture[20:60, 60:80] = picture[70:85, 40:55] = 30
    picture[90:93, 90:93] = 30
    mask = lung_mask(picture)
    assert mask[25:55, 20:30].all()
    assert mask[25:55, 65:75].all()
    assert not mask[65:].any()


def test_the_mask_of_an_even_picture_is_empty():
    assert not lung_mask(np.full((30, 30), 77, dtype=np.uint8)).any()
