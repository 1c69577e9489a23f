"""A vision transformer as a trunk: its map is timm's own patch tokens, at any side that the patches divide."""

import copy

import pytest
import timm
import torch

from medtransfer.models.backbones import create_trunk, evaluating
from medtransfer.models.classifier import NetworkConfig, build_network


@pytest.fixture(scope="module")
def trunk():
    return create_trunk("vit_tiny_patch16_224")


def test_the_map_holds_timms_tokens_row_by_row(trunk):
    plain = timm.create_model("vit_tiny_patch16_224", num_classes=0, dynamic_img_size=True)
    plain.load_state_dict(trunk.state_dict())
    images = torch.rand(2, 3, 32, 64)
    with evaluating(trunk), evaluating(plain):
        maps, tokens = trunk.forward_features(images), plain.forward_features(images)
    assert maps.shape == (2, 192, 2, 4)
    torch.testing.assert_close(maps[:, :, 1, 2], tokens[:, 1 + 4 + 2])


def test_a_copy_reads_its_own_weights(trunk):
    other = copy.deepcopy(trunk)
    with torch.no_grad():
        other.patch_embed.proj.weight.zero_()
    images = torch.rand(1, 3, 32, 32)
    with evaluating(trunk), evaluating(other):
        assert not torch.equal(trunk.forward_features(images), other.forward_features(images))


def test_a_head_reads_the_mean_of_the_patches():
    model = build_network(NetworkConfig(backbone="vit_tiny_patch16_224"), 2, seed=0)
    images = torch.rand(1, 3, 32, 32)
    with evaluating(model):
        maps = model.feature_map(images)
        torch.testing.assert_close(model.features(images), model.trunk.fc_norm(maps.mean((2, 3))))
