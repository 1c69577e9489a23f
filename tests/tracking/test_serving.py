"""Images outside the contract are refused with a reason; those inside are prepared as the training data were."""

import tracemalloc

import numpy as np
import pytest
import torch

from medtransfer.data.images import equalize, resize
from medtransfer.data.transforms import evaluate_view
from medtransfer.errors import DataError
from medtransfer.tracking.serving import MAX_IMAGES, check_images, prepare

GREY = np.full((2, 1, 8, 8), 9, np.uint8)
WRONG = [
    (GREY[:, 0], r"shape \[2, 8, 8\], expected \[N, 1, height, width\]"),
    (np.eye(8, dtype=np.uint8)[None, None], r"nothing above 1, .* \(not scaled to 0–1\)"),
    (np.zeros((1, 1, 8, 8), np.float32), "nothing above 1"),
    (np.zeros((8, 8), np.uint8), r"shape \[8, 8\], expected \[N, 1, height, width\]"),
    (np.zeros((2, 3, 8, 8), np.uint8), r"shape \[2, 3, 8, 8\]"),
    (np.zeros((0, 1, 8, 8), np.uint8), r"shape \[0, 1, 8, 8\]"),
    (np.zeros((MAX_IMAGES + 1, 1, 2, 2), np.uint8), "expected at most 256: send smaller batches"),
    (np.full((1, 1, 8, 8), np.nan), "NaN or infinity"),
    (np.full((1, 1, 8, 8), 256), "values 256 to 256, expected grey levels 0 to 255"),
    (np.full((1, 1, 8, 8), -1000.0), "values -1000.0"),
    (np.full((1, 1, 8, 8), 9.5), "fractions, expected whole grey levels"),
    (np.full((1, 1, 8, 8), "x"), "type <U1, expected uint8"),
]


@pytest.mark.parametrize(("images", "message"), WRONG)
def test_input_outside_the_contract_is_refused(images, message):
    with pytest.raises(DataError, match=message):
        check_images(images, 1)


def test_whole_floats_pass():
    assert check_images(GREY.astype(float) + 7, 1).dtype == np.uint8


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_looking_at_grey_levels_costs_one_copy_of_the_batch(kind):
    images = np.full((16, 1, 200, 200), 9, kind)
    tracemalloc.start()
    check_images(images, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * images.size


@pytest.mark.parametrize("spread", [False, True])
def test_images_are_prepared_as_in_training(spread):
    images = np.random.default_rng(0).integers(20, 90, (3, 1, 50, 70), dtype=np.uint8)
    preprocessing = {"size": 40, "crop": 32, "channels": 1, "mean": 0.4, "std": 0.2, "equalize": spread, "window": None}
    packed = np.stack([resize(equalize(image) if spread else image, 40) for image in images])
    expected = evaluate_view(torch.from_numpy(packed), 32, mean=(0.4,), std=(0.2,))
    assert torch.equal(prepare(images, preprocessing), expected)
