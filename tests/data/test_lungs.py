"""Where lung masks come from: a file wins, then a segmenter, then the whole image."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from medtransfer.data.lungs import complete, count_origins, lung_masks, lung_origins

SIDE = 8


@pytest.fixture
def data():
    """Four images: with a mask, without one, with an empty mask, without one and dark."""
    masks = np.zeros((2, SIDE, SIDE), np.uint8)
    masks[0, 2:4] = 6
    images = np.full((4, 1, SIDE, SIDE), 200, np.uint8)
    images[3] = 10
    manifest = pd.DataFrame({"mask_row": [0, -1, 1, -1]})
    return SimpleNamespace(manifest=manifest, masks=masks, images=images, meta=SimpleNamespace(size=SIDE))


def top_rows(images):
    """The upper rows of both halves; in dark images of the left half alone."""
    assert images.dtype == np.uint8
    assert images.shape[1:] == (1, SIDE, SIDE)
    masks = np.zeros((len(images), SIDE, SIDE), bool)
    masks[:, :2] = True
    masks[images.mean((1, 2, 3)) < 100, :, SIDE // 2 :] = False
    return masks


def test_a_file_wins_then_the_segmenter_then_the_whole_image(data):
    masks, origins = lung_masks(data, np.arange(4), top_rows)
    assert origins == ["file", "segmenter", "segmenter", "whole image"]
    assert masks[0].sum() == 2 * SIDE
    assert masks[0, 2:4].all()
    assert masks[1, :2].all()
    assert not masks[1, 2:].any()
    assert masks[3].all()
    assert count_origins(origins) == {"file": 1, "segmenter": 2, "whole image": 1}


def test_without_a_segmenter_an_empty_mask_is_none(data):
    masks, origins = lung_masks(data, np.array([2, 0]))
    assert origins == lung_origins(data, np.array([2, 0])) == ["whole image", "file"]
    assert masks[0].all()


def test_images_of_any_depth_and_colour_are_segmented(data):
    deep = np.full((2, 3, SIDE, SIDE), 200 * 257, np.uint16)
    assert complete(deep, top_rows).origins == ["segmenter"] * 2
