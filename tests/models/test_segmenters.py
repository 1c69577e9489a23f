"""Lungs found without a mask file: how well, and by which name."""

import numpy as np
import pytest

from medtransfer.data.phantom.cxr import CxrConfig, draw_cxr
from medtransfer.data.phantom.record import lungs
from medtransfer.data.phantom.scanner import CXR_SCANNERS
from medtransfer.errors import ModelError
from medtransfer.models.segmenters import SEGMENTERS, segmenter

LABELS = ("normal", "pneumonia", "covid")


@pytest.fixture(scope="module")
def drawn():
    """X-rays of all classes and hospitals, of which none chose the segmenter's constants."""
    streams = [[np.random.default_rng([stream, number]) for stream in (7, 8)] for number in range(18)]
    return [
        draw_cxr(*streams[number], LABELS[number % 3], CXR_SCANNERS[number // 3 % 3], CxrConfig(size=96))
        for number in range(18)
    ]


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_lung_fields_are_found_in_drawn_x_rays(drawn):
    images = np.stack([one.image[None] for one in drawn])
    found = segmenter("lung_fields")(images)
    true = np.stack([lungs(one.mask) for one in drawn])
    each = [dice(*pair) for pair in zip(found, true, strict=True)]
    assert np.mean(each) > 0.87
    assert min(each) > 0.75
    mean_shape = true.mean(0) >= 0.5
    assert np.mean(each) > np.mean([dice(mean_shape, one) for one in true])
    assert found[:, :, :48].any((1, 2)).all()
    assert found[:, :, 48:].any((1, 2)).all()


def test_an_image_without_contrast_has_no_lungs_in_two_halves():
    (found,) = segmenter("lung_fields")(np.full((1, 1, 96, 96), 90, np.uint8))
    assert found.shape == (96, 96)


def test_an_unknown_name_is_refused_with_those_that_there_are():
    with pytest.raises(ModelError, match=r"segmenter 'unet' does not exist; there are lung_fields, or '' for none"):
        segmenter("unet")
    assert segmenter("") is None
    assert list(SEGMENTERS) == ["lung_fields"]
