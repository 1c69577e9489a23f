import pytest
import torch
from pydantic import ValidationError

from medtransfer.errors import ModelError
from medtransfer.models.backbones import Site, create_trunk
from medtransfer.models.insertion import AttentionConfig, choose_sites, insert_layers


def resnet(*blocks: int) -> dict[str, Site]:
    """Sites of a bottleneck ResNet with this many blocks in its four stages."""
    return {
        f"layer{stage + 1}.{block}": Site(channels=256 * 2**stage, stride=4 * 2**stage)
        for stage, count in enumerate(blocks)
        for block in range(count)
    }


@pytest.mark.parametrize(
    ("depth", "placement", "expected"),
    [
        (50, "spread", "layer2.1 layer2.3 layer3.2 layer3.5 layer4.2"),
        (50, "tail", "layer2.2 layer2.3 layer3.4 layer3.5 layer4.2"),
        (50, "stacked", "layer2.3 layer2.3 layer3.5 layer3.5 layer4.2"),
        (101, "spread", "layer2.1 layer2.3 layer3.11 layer3.22 layer4.2"),
        (101, "tail", "layer2.2 layer2.3 layer3.21 layer3.22 layer4.2"),
        (101, "stacked", "layer2.3 layer2.3 layer3.22 layer3.22 layer4.2"),
    ],
)
def test_five_layers_stand_where_decision_m2_puts_them(depth: int, placement: str, expected: str) -> None:
    known = resnet(3, 4, {50: 6, 101: 23}[depth], 3)
    config = AttentionConfig.model_validate({"count": 5, "placement": placement})
    assert choose_sites(known, config) == tuple(expected.split())


def test_one_layer_closes_res3_and_none_stands_nowhere() -> None:
    assert choose_sites(resnet(3, 4, 6, 3), AttentionConfig(count=1)) == ("layer2.3",)
    assert choose_sites(resnet(3, 4, 6, 3), AttentionConfig()) == ()


def test_named_sites_win_over_the_count_and_run_in_the_networks_order() -> None:
    config = AttentionConfig(count=5, sites=("layer4.0", "layer1.2"))
    assert choose_sites(resnet(3, 4, 6, 3), config) == ("layer1.2", "layer4.0")


def test_an_unknown_site_is_refused_with_those_that_exist() -> None:
    expected = r"attention site 'layer2.9' does not exist; this network has layer1.0, layer2.0, layer3.0, layer4.0"
    with pytest.raises(ModelError, match=expected):
        choose_sites(resnet(1, 1, 1, 1), AttentionConfig(sites=("layer2.9",)))


def test_two_layers_in_a_stage_of_one_block_need_explicit_sites() -> None:
    with pytest.raises(
        ModelError, match=r"2 layer\(s\) placed 'spread' need blocks at stride 8, .* has layer2.0; name"
    ):
        choose_sites(resnet(1, 1, 1, 1), AttentionConfig(count=5))


@pytest.mark.parametrize("wanted", [{"count": 1}, {"sites": ("features.3",)}])
def test_a_network_without_blocks_is_refused_with_what_can_be_done(wanted: dict[str, object]) -> None:
    with pytest.raises(
        ModelError, match=r"no sequence of blocks \(a VGG .* use it plain, with 0 layers, or take one made"
    ):
        choose_sites({}, AttentionConfig.model_validate(wanted))
    assert choose_sites({}, AttentionConfig()) == ()


@pytest.mark.parametrize("wrong", [{"count": 2}, {"placement": "middle"}, {"width_ratio": 0}, {"heads": 4}])
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AttentionConfig.model_validate(wrong)


def test_layers_follow_width_ratio_and_scale_and_leave_the_trunks_keys_alone() -> None:
    trunk = create_trunk("test_resnet")
    keys = set(trunk.state_dict())
    config = AttentionConfig(sites=("layer3.0",), width_ratio=0.25, scale=True)
    layer = insert_layers(trunk, config)["layer3.0"]
    assert (layer.query.out_channels, layer.scale) == (48, 48**-0.5)
    assert set(trunk.state_dict()) == keys


def test_a_stacked_site_applies_both_layers_in_order() -> None:
    trunk = create_trunk("test_resnet").eval()
    block = trunk.get_submodule("layer2.0")
    x = torch.randn(1, 32, 8, 8)
    plain = block(x)
    layers = insert_layers(trunk, AttentionConfig(sites=("layer2.0", "layer2.0")))
    assert list(layers) == ["layer2.0", "layer2.0#2"]
    first, second = (layer.eval() for layer in layers.values())
    for layer in (first, second):
        torch.nn.init.normal_(layer.norm.weight)
    assert torch.equal(block(x), second(first(plain)))
    assert not torch.equal(block(x), plain)
