import copy

import pytest
import torch

from medtransfer.models.block_features import block_features
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.insertion import AttentionConfig
from medtransfer.models.networks import network_config


def test_features_of_the_last_block_are_what_the_head_reads() -> None:
    model, x = build_network(NetworkConfig(backbone="resnet18"), 2, seed=0).eval(), torch.randn(3, 3, 64, 64)
    features = block_features(model, x)
    assert list(features) == [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
    with torch.no_grad():
        torch.testing.assert_close(features["layer4.1"], model.features(x))


def test_a_cut_network_sees_up_to_its_cut_what_the_whole_one_sees() -> None:
    x = torch.randn(2, 3, 64, 64)
    whole, cut = (block_features(build_network(network_config(n), 2, seed=0), x) for n in ("densenet121", "dens_t2"))
    assert list(cut) == list(whole)[: len(cut)]
    assert list(cut)[-1] == "features.transition2"
    assert all(torch.equal(cut[name], whole[name]) for name in cut)


@pytest.mark.parametrize(("name", "side"), [("cbr_tiny", 96), ("cbr_small_same", 32)])
def test_cbr_networks_have_features_too(name: str, side: int) -> None:
    model = build_network(network_config(name), 2, seed=0)
    features = block_features(model, torch.randn(2, 3, side, side))
    assert list(features) == [f"blocks.{number}" for number in range(4)]


def test_features_are_taken_behind_attention() -> None:
    attention = AttentionConfig(sites=("layer4.0",))
    model = build_network(NetworkConfig(backbone="test_resnet", attention=attention), 2, seed=0).eval()
    torch.manual_seed(1)
    for parameter in model.attention.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(block_features(model, x)["layer4.0"], model.features(x))


def test_looking_leaves_no_trace() -> None:
    model, x = build_network(NetworkConfig(backbone="test_resnet"), 2, seed=0).train(), torch.randn(2, 3, 64, 64)
    model.trunk.get_submodule("layer1").eval()
    state, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    block_features(model, x)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
