import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn

from medtransfer.data.hashing import (
    flipped_hash,
    perceptual_hash,
    perceptual_hashes,
    pixel_sha,
    to_hex,
)
from medtransfer.data.images import resize


def smooth(seed, height=120, width=90, channels=1):
    """A random image with structure at several scales, uint8 ``[C, H, W]``."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width))
    for cells in (3, 6, 12):
        coarse = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
        total += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) / cells**0.5
    grey = np.interp(total, (total.min(), total.max()), (0, 255)).astype(np.uint8)
    return np.repeat(grey[None], channels, axis=0)


def bits_apart(a, b):
    return (a ^ b).bit_count()


def test_the_hash_agrees_with_a_cosine_transform_of_another_library():
    image = smooth(0)
    coefficients = dctn(resize(image, 32)[0].astype(float), type=2)
    literal = 0
    for vertical in range(1, 9):
        for horizontal in range(1, 9):
            literal = literal << 1 | int(coefficients[vertical, horizontal] > 0)
    assert perceptual_hash(image) == literal


def test_many_images_of_different_sizes_hash_as_one_by_one():
    images = [smooth(0), smooth(1, 64, 64, 3), smooth(2, 33, 200)]
    hashes = perceptual_hashes(images)
    assert hashes.dtype == np.uint64
    assert hashes.tolist() == [perceptual_hash(image) for image in images]


@pytest.mark.parametrize("seed", range(5))
def test_the_hash_of_the_mirrored_image_follows_from_the_hash(seed):
    image = smooth(seed, 128, 96)
    assert bits_apart(flipped_hash(perceptual_hash(image)), perceptual_hash(image[:, :, ::-1])) <= 1


def test_mirroring_flips_exactly_the_odd_horizontal_frequencies_of_an_image_of_thumbnail_size():
    image = np.random.default_rng(3).integers(0, 256, (1, 32, 32), dtype=np.uint8)
    assert flipped_hash(perceptual_hash(image)) == perceptual_hash(image[:, :, ::-1])


@pytest.mark.parametrize("seed", range(5))
def test_encoding_again_and_resizing_change_few_bits(seed):
    image = smooth(seed, 160, 160)
    buffer = io.BytesIO()
    Image.fromarray(image[0]).save(buffer, "JPEG", quality=40)
    encoded = np.asarray(Image.open(buffer))[None]
    assert bits_apart(perceptual_hash(image), perceptual_hash(encoded)) <= 4
    assert bits_apart(perceptual_hash(image), perceptual_hash(resize(image, 70))) <= 4


def test_different_images_are_far_apart():
    hashes = [perceptual_hash(smooth(seed)) for seed in range(20)]
    apart = [bits_apart(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(apart) > 8


def test_depth_and_repeated_channels_do_not_change_the_look():
    image = smooth(4)
    assert bits_apart(perceptual_hash(image), perceptual_hash(image.astype(np.uint16) * 257)) <= 1
    assert perceptual_hash(image) == perceptual_hash(np.repeat(image, 3, axis=0))


@given(st.integers(0, 2**64 - 1))
@settings(max_examples=50)
def test_hex_digits_round_trip_and_mirroring_twice_is_nothing(value):
    assert len(to_hex(value)) == 16
    assert int(to_hex(value), 16) == value
    assert flipped_hash(flipped_hash(value)) == value


def test_pixel_hash_sees_one_pixel_the_shape_and_the_type_but_not_repeated_channels():
    image = smooth(5)
    other = image.copy()
    other[0, 0, 0] ^= 1
    assert pixel_sha(image) == pixel_sha(np.repeat(image, 3, axis=0))
    assert pixel_sha(image) == pixel_sha(np.asfortranarray(image))
    different = [image, other, image.reshape(1, 90, 120), image.astype(np.uint16)]
    assert len({pixel_sha(each) for each in different}) == 4
