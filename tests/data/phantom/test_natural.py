import numpy as np
import pytest

from medtransfer.data.phantom.natural import SHAPES, NaturalConfig, draw_natural


@pytest.mark.parametrize("label", list(SHAPES))
def test_every_shape_gives_a_colour_image_that_depends_on_its_stream_alone(label):
    first, again, other = (
        draw_natural(np.random.default_rng(seed), label, NaturalConfig(size=32)) for seed in (0, 0, 1)
    )
    assert first.image.shape == (32, 32, 3)
    assert first.image.dtype == np.uint8
    assert (first.image == again.image).all()
    assert (first.image != other.image).any()
    assert not first.mask.any()


def test_there_are_at_least_six_classes():
    assert len(SHAPES) >= 6


def test_the_shape_alone_differs_between_classes():
    images = [draw_natural(np.random.default_rng(4), label, NaturalConfig()).image for label in SHAPES]
    for number, image in enumerate(images):
        for other in images[number + 1 :]:
            differs = (image != other).any(axis=-1)
            assert 0.01 < differs.mean() < 0.7
