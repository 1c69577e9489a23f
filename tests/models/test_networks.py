import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from medtransfer.errors import ModelError
from medtransfer.models.classifier import Classifier, build_network
from medtransfer.models.networks import AnyNetwork, network_config
from medtransfer.models.slim import SlimConfig
from medtransfer.models.structures import Structure, map_shape
from medtransfer.models.weights import load_model, save_weights
from network_heads import class_heads

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "peng_networks.json").read_text())
QUICK = (
    *("densenet121_t1", "densenet121_t2", "densenet121_s1", "resnet50_t1", "cbr_small_same", "cbr_tiny_w32_same"),
    *("tf_efficientnet_lite0_to_blocks.3", "test_convnext_to_stages.2.blocks.1"),
)
LARGE = (
    *("resnet50", "resnet50_t2", "resnet50_t3", "resnet50_t4", "resnet50_t5"),
    *("densenet121", "densenet121_t3", "densenet121_s2", "densenet121_s3"),
    *("cbr_larget_same", "cbr_largew_same", "cbr_tiny_same"),
)


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def outline(config: Structure) -> Classifier:
    """A network without memory: enough to count."""
    with torch.device("meta"):
        return build_network(config, 2)


@pytest.mark.parametrize("name", GOLDEN["trunk_and_averaged_head"])
def test_parameter_counts_and_last_maps_are_the_references(name: str) -> None:
    model = outline(network_config(name))
    assert list(map_shape(model.trunk, 224)) == GOLDEN["last_map_at_224"][name]
    assert [size(model.trunk), size(model)] == GOLDEN["trunk_and_averaged_head"][name]


@pytest.mark.parametrize("name", GOLDEN["flattened_head_at_224"])
def test_a_flattened_head_has_the_references_size(name: str) -> None:
    model = outline(network_config(name, head="flatten", size=224))
    assert size(model) == GOLDEN["flattened_head_at_224"][name]


@pytest.mark.parametrize(
    ("name", "head"),
    [
        *((name, "gap") for name in QUICK),
        *((name, "flatten") for name in ("densenet121_t1", "cbr_small_same")),
        *(pytest.param(name, "gap", marks=pytest.mark.slow) for name in LARGE),
        *(pytest.param(name, "flatten", marks=pytest.mark.slow) for name in ("densenet121", "densenet121_s1")),
    ],
)
def test_every_structure_builds_learns_saves_and_loads_equal(name: str, head: Any, tmp_path: Path) -> None:
    config = network_config(name, head=head, size=64)
    model, x = build_network(config, 2, seed=0), torch.randn(2, 3, 64, 64)
    model(x).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.head.weight.grad is not None
    assert model.head.weight.grad.abs().sum() > 0
    save_weights(model, tmp_path, config=config, heads=class_heads("ab"), preprocessing={})
    loaded, _ = load_model(tmp_path)
    assert torch.equal(loaded(x), model.eval().to(memory_format=torch.channels_last)(x))
    assert torch.equal(loaded(x), loaded.head(loaded.pool(loaded.feature_map(x))))


@pytest.mark.parametrize("name", [*QUICK, *LARGE, "cbr_larget", "cbr_tiny_w32", "densenet169_s2", "vgg11_to_features"])
def test_a_configuration_survives_json(name: str) -> None:
    config = network_config(name)
    assert TypeAdapter[Any](AnyNetwork).validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(("short", "name"), [("res_t2", "resnet50_t2"), ("dens_s3", "densenet121_s3")])
def test_the_papers_short_names_mean_the_same_networks(short: str, name: str) -> None:
    assert network_config(short) == network_config(name)


def test_a_cut_of_the_paper_is_the_cut_after_its_block() -> None:
    assert network_config("resnet50_t3") == network_config("resnet50_to_layer4.0")


def test_the_last_cut_of_a_resnet_is_the_whole_network() -> None:
    whole, cut = (build_network(network_config(name), 2, seed=0).eval() for name in ("resnet50", "res_t5"))
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(whole(x), cut(x))
    assert cut.left_out == {}


def test_a_flattened_head_reads_every_value_of_the_map() -> None:
    model = build_network(network_config("dens_t1", head="flatten", size=64), 2, seed=0).eval()
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(model.features(x), model.feature_map(x).reshape(2, -1))
    assert model.width == 128 * 8 * 8


def test_a_flattened_head_refuses_pictures_of_another_size() -> None:
    model = build_network(network_config("dens_t1", head="flatten", size=64), 2)
    expected = r"built for images of 64 px, whose last map is \(128, 8, 8\), got \(128, 12, 12\); set flatten_at"
    with pytest.raises(ModelError, match=expected):
        model(torch.randn(2, 3, 96, 96))


def test_a_flattened_head_needs_a_size() -> None:
    with pytest.raises(ModelError, match="network 'res_t1': a flattened head needs the images' size"):
        network_config("res_t1", head="flatten")


def test_unknown_names_are_refused_with_those_that_exist() -> None:
    with pytest.raises(ModelError, match="network 'cbr_huge' does not exist; there are cbr_larget, cbr_largew"):
        network_config("cbr_huge")
    with pytest.raises(ModelError, match="'densnet121' is not known to timm; close names: densenet121"):
        build_network(network_config("densnet121"), 2)


@pytest.mark.parametrize(
    ("name", "known"), [("res_t9", "resnet50_t1, .*, resnet50_t5"), ("densenet121_t4", "densenet121_t3")]
)
def test_a_cut_that_the_paper_has_not_is_refused_with_those_that_it_has(name: str, known: str) -> None:
    with pytest.raises(
        ModelError, match=rf"cut '{name}' does not exist; there are .*{known}, and any block as \w+_to_<block>"
    ):
        network_config(name)


def test_a_slim_network_needs_a_densenet_and_a_block_above() -> None:
    with pytest.raises(ModelError, match=r"has 4 dense blocks: .* after blocks 1 to 3, got 4"):
        build_network(network_config("densenet121_s4"), 2)
    with pytest.raises(ModelError, match="network 'resnet18' is not a DenseNet"):
        build_network(SlimConfig(backbone="resnet18", after=1), 2)


def test_the_bottom_of_a_slim_network_is_that_of_the_whole() -> None:
    x = torch.randn(2, 3, 64, 64)
    whole, slim = (build_network(network_config(n), 2, seed=0).eval() for n in ("densenet121", "densenet121_s2"))

    def after_transition2(model: Classifier) -> torch.Tensor:
        seen: list[torch.Tensor] = []
        layer = model.trunk.get_submodule("features.transition2")
        handle = layer.register_forward_hook(lambda _m, _i, output: seen.append(output))
        model(x)
        handle.remove()
        return seen[0]

    assert torch.equal(after_transition2(whole), after_transition2(slim))


def test_the_top_of_a_slim_network_starts_kaiming_normal_with_open_norms() -> None:
    model = build_network(network_config("densenet121_s3"), 2, seed=0)
    conv = model.trunk.get_submodule("features.denseblock4.denselayer9.conv2")
    assert isinstance(conv, nn.Conv2d)
    assert float(conv.weight.detach().std()) == pytest.approx((2 / (128 // 2 * 9)) ** 0.5, rel=0.05)
    norm = model.trunk.get_submodule("features.norm5")
    assert isinstance(norm, nn.BatchNorm2d)
    assert torch.equal(norm.weight, torch.ones(768))
    assert torch.equal(norm.bias, torch.zeros(768))


@pytest.mark.parametrize(("name", "least"), [("cbr_larget", 217), ("cbr_small", 121), ("cbr_tiny", 91)])
def test_cbr_without_padding_says_which_pictures_are_too_small(name: str, least: int) -> None:
    model = build_network(network_config(name), 2).eval()
    assert model.feature_map(torch.zeros(1, 3, least, least)).shape[2:] == (1, 1)
    with pytest.raises(ModelError, match=f"needs images of at least {least} px, got {least - 1} × {least}"):
        model(torch.zeros(1, 3, least - 1, least))


def test_cbr_drops_a_tenth_of_the_features_in_training() -> None:
    assert build_network(network_config("cbr_tiny"), 2).dropout.p == 0.1


def test_a_seed_starts_a_cut_network_as_the_bottom_of_the_whole() -> None:
    whole, cut = (build_network(network_config(name), 2, seed=3).trunk for name in ("densenet121", "dens_t2"))
    state = whole.state_dict()
    assert all(torch.equal(state[key], value) for key, value in cut.state_dict().items())
