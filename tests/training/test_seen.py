"""What a network sees of images: the same alone and beside its answers, a batch of images in memory at a time."""

import numpy as np
import pytest
import torch

from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.multitask import MultitaskConfig
from medtransfer.models.tokens import TransformerConfig
from medtransfer.training import seen
from medtransfer.training.seen import Watched, look

PREPARED = {"size": 64, "channels": 1, "crop": 64, "mean": [0.5], "std": [0.25], "window": None}
TRUNK = NetworkConfig(backbone="test_resnet")
SHAPE = {"side": 64, "transformer": TransformerConfig(width=24, layers=1, heads=3), "upsizing": (4, 4, 4, 4)}


@pytest.fixture
def packed():
    return np.random.default_rng(0).integers(0, 256, (70, 1, 64, 64), dtype=np.uint8)


@pytest.mark.parametrize(("config", "outputs"), [(TRUNK, 2), (MultitaskConfig(corpus=TRUNK, **SHAPE), 8)])
def test_a_watched_network_answers_as_before_and_its_features_are_those_of_a_pass_of_their_own(packed, config, outputs):
    network = build_network(config, outputs, seed=0).eval()
    watched, answers = Watched(network), []
    with torch.inference_mode():
        inputs = [seen.normalised(packed[start : start + 64], PREPARED) for start in (0, 64)]
        masks = [(torch.rand(len(x), 64, 64) > 0.5,) if network.reads_lungs else () for x in inputs]
        answers = [(watched(x, *mask), network(x, *mask)) for x, mask in zip(inputs, masks, strict=True)]
    for mine, plain in answers:
        torch.testing.assert_close(mine, plain, rtol=0, atol=0)
    assert watched.reads_lungs == network.reads_lungs
    alone = look(network, PREPARED, packed)
    beside = look(network, PREPARED, packed, features=watched.features)
    np.testing.assert_array_equal(alone.features, beside.features)


def test_grey_levels_of_a_batch_of_images_are_in_memory_at_a_time(packed, monkeypatch):
    at_once, whole = [], seen.grey_levels
    monkeypatch.setattr(seen, "grey_levels", lambda images: at_once.append(len(images)) or whole(images))
    numbers = look(build_network(TRUNK, 2, seed=0), PREPARED, packed).numbers
    assert at_once == [64, 6]
    levels = packed.reshape(70, -1)
    for name, expected in zip(
        seen.GREY, (*np.percentile(levels, [1, 50, 99], axis=1), levels.mean(1), levels.std(1)), strict=True
    ):
        np.testing.assert_array_equal(numbers[name], expected)
