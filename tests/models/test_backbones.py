import pytest
import torch
from torch import nn

from medtransfer.errors import ModelError
from medtransfer.models.backbones import Site, create_trunk, feature_width, sites, survey


def test_resnet_sites_are_its_blocks_and_see_the_map_after_the_last_relu() -> None:
    trunk = create_trunk("resnet18")
    assert sites(trunk) == tuple(f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1))
    assert survey(trunk)["layer2.1"] == Site(channels=128, stride=8)
    seen: list[torch.Tensor] = []
    trunk.get_submodule("layer2.1").register_forward_hook(lambda _m, _i, output: seen.append(output))
    trunk(torch.randn(1, 3, 64, 64))
    assert seen[0].min() >= 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("densenet121", {"features.denseblock3": Site(1024, 16), "features.denseblock4": Site(1024, 32)}),
        (
            "tf_efficientnet_lite0",
            {"blocks.2.1": Site(40, 8), "blocks.4.2": Site(112, 16), "blocks.6.0": Site(320, 32)},
        ),
        ("test_convnext", {"stages.2.blocks.3": Site(48, 16), "stages.3.blocks.1": Site(64, 32)}),
        ("regnety_002", {"s3.b4": Site(152, 16)}),
    ],
)
def test_other_families_have_sites_after_the_blocks_of_their_stages(name: str, expected: dict[str, Site]) -> None:
    known = survey(create_trunk(name))
    assert {key: known.get(key) for key in expected} == expected
    assert all("." in key for key in known)


def test_survey_leaves_statistics_mode_and_hooks_as_they_were() -> None:
    trunk = create_trunk("test_resnet").train()
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    survey(trunk)
    assert trunk.training
    assert all(torch.equal(before[key], value) for key, value in trunk.state_dict().items())
    assert not any(module._forward_hooks for module in trunk.modules())


@pytest.mark.parametrize(("name", "width"), [("test_efficientnet", 256), ("mobilenetv3_small_050", 1024)])
def test_the_width_is_that_of_the_pooled_features(name: str, width: int) -> None:
    trunk = create_trunk(name)
    assert feature_width(trunk) == trunk(torch.randn(2, 3, 64, 64)).shape[1] == width


def test_drop_path_reaches_the_blocks() -> None:
    def rates(trunk: nn.Module) -> list[float]:
        return [float(module.drop_prob) for module in trunk.modules() if type(module).__name__ == "DropPath"]  # type: ignore[arg-type]

    assert max(rates(create_trunk("resnet18", drop_path=0.2))) == pytest.approx(0.2)
    assert not rates(create_trunk("resnet18"))


def test_an_unknown_network_is_refused_with_close_names() -> None:
    with pytest.raises(ModelError, match=r"network 'resnet5' is not known to timm; close names: resnet50"):
        create_trunk("resnet5")


def test_a_transformer_without_a_channels_first_map_is_refused() -> None:
    name = "swin_tiny_patch4_window7_224"
    with pytest.raises(ModelError, match=f"network '{name}' .*; take a convolutional network"):
        create_trunk(name)
