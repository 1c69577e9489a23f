import copy

import pytest
import torch
from torch import Tensor, nn

from medtransfer.errors import ModelError
from medtransfer.models.backbones import create_trunk
from medtransfer.models.classifier import NetworkConfig, attention_layers, build_network
from medtransfer.models.insertion import AttentionConfig
from medtransfer.models.truncate import cuts, truncate


def outputs_at(trunk: nn.Module, names: tuple[str, ...], x: Tensor) -> dict[str, Tensor]:
    """The other way to cut: run everything, take what each block gave."""
    seen: dict[str, Tensor] = {}

    def note(name: str, output: Tensor) -> None:
        seen[name] = output.clone()  # work in place may follow

    for name in names:
        trunk.get_submodule(name).register_forward_hook(lambda _m, _i, output, name=name: note(name, output))
    with torch.no_grad():
        trunk.eval().forward_features(x)  # type: ignore[operator]
    return seen


@pytest.mark.parametrize(
    "name",
    [
        "test_resnet",
        "test_convnext",
        "test_efficientnet",
        "mobilenetv3_small_050",
        pytest.param("regnety_002", marks=pytest.mark.slow),
        pytest.param("densenet121", marks=pytest.mark.slow),
        pytest.param("inception_v3", marks=pytest.mark.slow),
        pytest.param("dla34", marks=pytest.mark.slow),
        pytest.param("dpn48b", marks=pytest.mark.slow),
    ],
)
def test_a_network_cut_anywhere_gives_what_the_whole_one_has_there_and_keeps_no_more(name: str) -> None:
    whole, x = create_trunk(name), torch.randn(1, 3, 96, 96)
    keys = whole.state_dict()
    known = cuts(whole)
    assert len(known) >= 4
    expected = outputs_at(copy.deepcopy(whole), known, x)
    for cut in known:
        trunk = copy.deepcopy(whole)
        gone = truncate(trunk, cut)
        with torch.no_grad():
            assert torch.equal(trunk.eval().forward_features(x), expected[cut])  # type: ignore[operator]
        kept = trunk.state_dict()
        assert set(kept) | set(gone) == set(keys)
        assert not set(kept) & set(gone)
        assert all(tuple(keys[key].shape) == shape for key, shape in gone.items())


def test_every_kept_weight_takes_part_in_the_result() -> None:
    trunk = create_trunk("densenet121")
    truncate(trunk, "features.transition1")
    trunk.forward_features(torch.randn(2, 3, 64, 64)).square().sum().backward()  # type: ignore[operator]
    assert all(parameter.grad is not None for parameter in trunk.parameters())


def test_nothing_runs_behind_the_cut() -> None:
    trunk = create_trunk("resnet18")
    truncate(trunk, "layer2.0")
    behind = [trunk.get_submodule(name) for name in ("layer2.1", "layer3", "layer4", "fc", "global_pool")]
    assert all(type(module) is nn.Identity for module in behind)


def test_stages_that_the_network_goes_through_one_by_one_can_all_be_cut_off() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
            self.stages = nn.Sequential(*(nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()) for _ in range(2)))

        def forward_features(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            for stage in self.stages:
                x = stage(x)
            return x

    trunk, x = Loop(), torch.randn(1, 3, 8, 8)
    assert cuts(trunk) == ("stem", "stages.0", "stages.1")
    expected = trunk.stem(x)
    assert set(truncate(trunk, "stem")) == {f"stages.{n}.0.{part}" for n in range(2) for part in ("weight", "bias")}
    assert torch.equal(trunk.forward_features(x), expected)


def test_a_transition_is_the_end_without_another_norm_or_relu() -> None:
    trunk = create_trunk("densenet121")
    truncate(trunk, "features.transition2")
    assert trunk.forward_features(torch.randn(2, 3, 64, 64)).min() < 0  # type: ignore[operator]


def test_cuts_run_from_the_first_block_to_the_last_and_never_inside_one() -> None:
    assert cuts(create_trunk("densenet121")) == (
        *("features.denseblock1", "features.transition1", "features.denseblock2", "features.transition2"),
        *("features.denseblock3", "features.transition3", "features.denseblock4", "features"),
    )
    known = cuts(create_trunk("resnet18"))
    assert known[:3] == ("layer1.0", "layer1.1", "layer1")
    assert not any(part in name for name in known for part in ("conv", "bn", "act"))


def test_a_side_path_allows_no_cut_under_it() -> None:
    class Bypass(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
            self.second = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())
            self.third = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())

        def forward_features(self, x: Tensor) -> Tensor:
            first = self.first(x)
            summed = self.second(first)
            summed += first  # in place: the same tensor, another value
            third: Tensor = self.third(summed)
            return third

    assert cuts(Bypass()) == ("third",)


def test_a_cut_that_does_not_exist_is_refused_with_those_that_do() -> None:
    config = NetworkConfig(backbone="resnet18", cut="layer5")
    expected = r"cut 'layer5' does not exist; this network can be cut after layer1.0, layer1.1, layer1, layer2.0,"
    with pytest.raises(ModelError, match=expected):
        build_network(config, 2)


def test_a_network_of_single_layers_is_cut_where_its_stages_end() -> None:
    with torch.device("meta"):
        known = cuts(create_trunk("vgg11_bn"))
    assert known == (
        "features.2",
        "features.6",
        "features.13",
        "features.20",
        "features.27",
        "features.28",
        "features",
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "cut", "side"),
    [
        ("vgg11_bn", "features.6", 96),
        ("hrnet_w18_small", "final_layer", 96),
        ("selecsls42", "head.1", 96),
        ("coatnet_nano_rw_224", "stages.1", 224),
        ("maxvit_rmlp_pico_rw_256", "stages.0", 256),
        ("efficientformer_l1", "stages.1", 224),
    ],
)
def test_networks_of_other_kinds_are_cut_at_their_own_input_size(name: str, cut: str, side: int) -> None:
    trunk = create_trunk(name, cut=True)
    assert cut in cuts(trunk)
    x = torch.randn(1, 3, side, side)
    expected = outputs_at(copy.deepcopy(trunk), (cut,), x)[cut]
    truncate(trunk, cut)
    with torch.no_grad():
        assert torch.equal(trunk.eval().forward_features(x), expected)  # type: ignore[operator]
    model = build_network(NetworkConfig(backbone=name, cut=cut), 2, seed=0).eval()
    assert model(x).shape == (1, 2)


@pytest.mark.parametrize(
    ("name", "cut", "reason"),
    [
        ("vit_tiny_patch16_224", "blocks.3", "this network has no block behind which maps .* flow in a single chain"),
        pytest.param(
            *("swin_tiny_patch4_window7_224", "layers.1", "does not end in a channels-first map"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_network_without_such_maps_is_refused_for_that_and_not_for_its_size(name: str, cut: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        build_network(NetworkConfig(backbone=name, cut=cut), 2)


def test_looking_for_cuts_leaves_statistics_mode_and_hooks_as_they_were() -> None:
    trunk = create_trunk("test_resnet").train()
    before = copy.deepcopy(trunk.state_dict())
    cuts(trunk)
    assert trunk.training
    assert all(torch.equal(before[key], value) for key, value in trunk.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in trunk.modules())


def test_a_cut_network_takes_attention_at_the_sites_that_it_has() -> None:
    attention = AttentionConfig(sites=("layer2.1", "layer3.0"))
    model = build_network(NetworkConfig(backbone="resnet18", cut="layer3.0", attention=attention), 2, seed=0)
    assert list(attention_layers(model)) == ["layer2.1", "layer3.0"]
    model(torch.randn(2, 3, 64, 64)).square().sum().backward()
    for layer in attention_layers(model).values():
        assert layer.norm.weight.grad is not None
        assert layer.norm.weight.grad.abs().sum() > 0
    beyond = AttentionConfig(sites=("layer4.0",))
    with pytest.raises(ModelError, match=r"attention site 'layer4.0' does not exist; this network has .*layer3.0$"):
        build_network(NetworkConfig(backbone="resnet18", cut="layer3.0", attention=beyond), 2)


def test_a_copied_cut_network_gives_the_same() -> None:
    model = build_network(NetworkConfig(backbone="test_resnet", cut="layer3.0"), 2, seed=0).eval()
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(copy.deepcopy(model)(x), model(x))
