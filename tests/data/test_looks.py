import numpy as np
from scipy.fft import dctn

from medtransfer.data.looks import content_box, make_looks, orient, orientations, ranks, spectra, thumbnails


def test_thumbnails_of_sixteen_bits_are_those_of_eight():
    eight = np.kron(np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4) * 16, np.ones((16, 16), np.uint8))
    np.testing.assert_array_equal(thumbnails(eight.astype(np.uint16) * 257), thumbnails(eight))


def test_the_spectrum_is_the_cosine_transform_of_the_ranks():
    small = np.random.default_rng(0).integers(0, 256, (1, 64, 64), dtype=np.uint8)
    whole = np.array([[0, 0, 64, 64]], np.float32)
    expected = dctn(ranks(small, whole)[0].astype(float), norm="ortho")[:9, :9].ravel()[1:] / 64
    index = np.arange(1, 81)
    blur = np.sinc(index // 9 / 128) * np.sinc(index % 9 / 128)  # cosines are averaged over pixels, not sampled
    np.testing.assert_allclose(spectra(small)[0, 0], expected * blur, atol=2e-4)


def test_orientation_and_sign_of_an_image_follow_from_its_spectrum():
    small = np.random.default_rng(1).integers(0, 256, (2, 64, 64), dtype=np.uint8)
    own = spectra(small).astype(float)
    for code, (order, signs) in enumerate(orientations()):
        np.testing.assert_allclose(spectra(orient(small, code)), own[..., order] * signs, atol=2e-3)
    np.testing.assert_allclose(spectra(255 - small), -own, atol=2e-3)


def test_a_plain_border_is_not_content():
    small = np.random.default_rng(2).integers(0, 256, (1, 64, 64), dtype=np.uint8)
    small[:, :6], small[:, :, -3:] = 250, 250
    assert content_box(small).tolist() == [[0, 7, 60, 64]]
    assert content_box(np.zeros((1, 64, 64), np.uint8)).tolist() == [[0, 0, 64, 64]]


def test_images_of_different_sizes_make_one_array():
    looks = make_looks([np.zeros((3, 20, 30), np.uint8), np.zeros((1, 99, 7), np.uint8)])
    assert len(looks) == 2
    assert not looks.spectra.any()
