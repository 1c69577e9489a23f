"""What a network sees of images: the same alone and beside its answers, a batch of images in memory at a time."""

import numpy as np
import pytest
import torch

from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.multitask import MultitaskConfig
from medtransfer.models.tokens import TransformerConfig
from medtransfer.training import seen
from medtransfer.training.seen import Watched, look, middle_block

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


@pytest.mark.parametrize(
    ("backbone", "block"),
    [
        ("resnet18", "layer3.1"),  # of the stride 16, where the last map has 32
        ("tf_efficientnet_lite0", "blocks.4.2"),
        ("densenet121", "features.denseblock3"),
    ],
)
def test_features_are_of_the_last_map_that_is_twice_as_fine_as_the_last(backbone, block):
    assert middle_block(build_network(NetworkConfig(backbone=backbone), 2, seed=0)) == block


def test_features_of_a_transformer_are_of_its_last_map():
    assert middle_block(build_network(NetworkConfig(backbone="vit_tiny_patch16_224"), 2, seed=0)) == ""


def test_features_of_a_block_are_averages_of_its_map(packed):
    network = build_network(NetworkConfig(backbone="resnet18"), 2, seed=0).eval()
    found = look(network, PREPARED, packed[:4], block="layer3.1").features
    trunk = network.trunk
    with torch.inference_mode():
        x = seen.normalised(packed[:4], PREPARED)
        for name in ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3"):
            x = trunk.get_submodule(name)(x)
    np.testing.assert_allclose(found, x.mean((2, 3)).double().numpy(), rtol=1e-5, atol=1e-6)
    assert not trunk.get_submodule("layer3.1")._forward_hooks
