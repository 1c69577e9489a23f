"""Whole weights into cut and slim networks: what is taken, what is left aside, what is refused."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from medtransfer.errors import ModelError
from medtransfer.models.classifier import Classifier, NetworkConfig, build_network
from medtransfer.models.networks import network_config
from medtransfer.models.weights import FileInit, TimmInit, initialise, load_into, save_weights
from network_heads import class_heads

WHOLE, CUT = NetworkConfig(backbone="test_resnet"), NetworkConfig(backbone="test_resnet", cut="layer3.0")


def moved(model: torch.nn.Module) -> torch.nn.Module:
    """Give batch norm statistics that no fresh network has."""
    torch.manual_seed(8)
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                value.add_(torch.rand_like(value) * 0.1)
            elif key.endswith("num_batches_tracked"):
                value.fill_(7)
    return model


def saved(folder: Path, config: NetworkConfig = WHOLE) -> Classifier:
    model = build_network(config, 2, seed=1)
    moved(model)
    save_weights(model, folder, config=config, heads=class_heads("ab"), preprocessing={})
    return model.eval()


def equal_on(first: torch.nn.Module, second: torch.nn.Module, keys: tuple[str, ...]) -> bool:
    one, two = first.state_dict(), second.state_dict()
    return all(torch.equal(one[key], two[key]) for key in keys)


def test_a_cut_network_takes_what_it_kept_and_reports_the_rest(tmp_path: Path) -> None:
    whole, cut, start = saved(tmp_path), build_network(CUT, 2, seed=5), build_network(CUT, 2, seed=5)
    report = load_into(cut, tmp_path, head="if_fits")
    trunk = tuple(key for key in cut.state_dict() if key.startswith("trunk."))
    assert set(report.loaded) == set(trunk)
    assert equal_on(cut, whole, trunk)
    assert set(report.kept) == {"head.weight", "head.bias"}
    assert equal_on(cut, start, report.kept)
    assert set(report.ignored) == {key for key in whole.state_dict() if key not in trunk}
    seen: list[torch.Tensor] = []
    whole.trunk.get_submodule("layer3.0").register_forward_hook(lambda _m, _i, output: seen.append(output))
    x = torch.randn(2, 3, 64, 64)
    whole(x)
    assert torch.equal(cut.eval().feature_map(x), seen[0])


def test_the_head_of_a_whole_network_never_reads_a_cut_ones_features(tmp_path: Path) -> None:
    """The features of layer4.0 and layer4.1 of this network have one width: the head would fit, and mean nothing."""
    config = NetworkConfig(backbone="resnet18", cut="layer4.0")
    whole = saved(tmp_path, NetworkConfig(backbone="resnet18"))
    cut = build_network(config, 2, seed=5)
    assert cut.head.weight.shape == whole.head.weight.shape
    report = load_into(cut, tmp_path, head="if_fits")
    assert "head.weight" in report.ignored
    assert not torch.equal(cut.head.weight, whole.head.weight)


def test_a_cut_networks_own_weights_go_on_with_their_head(tmp_path: Path) -> None:
    earlier, later = saved(tmp_path, CUT), build_network(CUT, 2, seed=5)
    report = initialise(later, CUT, FileInit(path=tmp_path))
    assert report.ignored == report.kept == ()
    assert equal_on(earlier, later, tuple(earlier.state_dict()))


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_plain_checkpoint_of_the_whole_network_loads_into_a_cut_one(tmp_path: Path, suffix: str) -> None:
    file, plain = tmp_path / f"plain.{suffix}", moved(timm.create_model("test_resnet", num_classes=5))
    save_file(plain.state_dict(), file) if suffix == "safetensors" else torch.save(plain.state_dict(), file)
    cut = build_network(CUT, 2)
    report = load_into(cut, file, head="if_fits")
    own = plain.state_dict()
    assert all(torch.equal(cut.state_dict()[key], own[key.removeprefix("trunk.")]) for key in report.loaded)
    assert {"head.weight", "trunk.layer4.0.conv1.weight"} <= set(report.ignored)


def test_timms_weights_of_the_whole_network_start_a_cut_one(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, cut = {"test_resnet": timm.create_model("test_resnet", num_classes=5)}, build_network(CUT, 2)
    monkeypatch.setattr(timm, "create_model", lambda name, *, pretrained: plain[name] if pretrained else None)
    report = initialise(cut, CUT, TimmInit())
    assert report.source == "timm:test_resnet"
    assert torch.equal(cut.state_dict()["trunk.conv1.0.weight"], plain["test_resnet"].state_dict()["conv1.0.weight"])


@pytest.mark.parametrize("backbone", ["resnet34", "resnet26", "test_efficientnet"])
def test_weights_of_another_network_are_refused_and_change_nothing(tmp_path: Path, backbone: str) -> None:
    saved(tmp_path, NetworkConfig(backbone=backbone))
    cut = build_network(NetworkConfig(backbone="resnet18", cut="layer2.0"), 2, seed=0)
    before = {key: value.clone() for key, value in cut.state_dict().items()}
    with pytest.raises(ModelError, match="the weights are of another network"):
        load_into(cut, tmp_path, head="if_fits")
    assert all(torch.equal(before[key], value) for key, value in cut.state_dict().items())


def test_a_file_that_ends_behind_the_cut_but_is_not_whole_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, NetworkConfig(backbone="resnet18", cut="layer3.0"))
    cut = build_network(NetworkConfig(backbone="resnet18", cut="layer2.0"), 2)
    with pytest.raises(ModelError, match=r"without a place in the network: trunk.layer2.1"):
        load_into(cut, tmp_path, head="if_fits")


@pytest.mark.parametrize("after", [1, 2, 3])
def test_transfusion_takes_the_bottom_with_its_statistics_and_leaves_the_top_random(tmp_path: Path, after: int) -> None:
    whole = saved(tmp_path, NetworkConfig(backbone="densenet121"))
    config = network_config(f"densenet121_s{after}")
    slim, start = build_network(config, 2, seed=5), build_network(config, 2, seed=5)
    report = load_into(slim, tmp_path, head="if_fits")
    bottom = [f"features.{name}" for name in ("conv0", "norm0")]
    bottom += [f"features.{part}{number}" for part in ("denseblock", "transition") for number in range(1, after + 1)]
    expected = {key for key in slim.state_dict() if key.startswith(tuple(f"trunk.{name}." for name in bottom))}
    assert set(report.loaded) == expected
    assert any(key.endswith("running_var") for key in expected)
    assert equal_on(slim, whole, report.loaded)
    assert equal_on(slim, start, report.kept)
    assert set(report.loaded) | set(report.kept) == set(slim.state_dict())
    assert all(value.isfinite().all() for value in slim.state_dict().values())


def test_a_slim_networks_own_weights_load_whole(tmp_path: Path) -> None:
    config = network_config("densenet121_s1")
    slim, again = build_network(config, 2, seed=1), build_network(config, 2, seed=2)
    save_weights(slim, tmp_path, config=config, heads=class_heads("ab"), preprocessing={})
    report = load_into(again, tmp_path, head=True)
    assert report.kept == report.ignored == ()
    assert equal_on(slim, again, report.loaded)


def test_weights_of_another_densenet_are_refused_by_a_slim_one(tmp_path: Path) -> None:
    saved(tmp_path, NetworkConfig(backbone="densenet169"))
    with pytest.raises(ModelError, match="the weights are of another network"):
        load_into(build_network(network_config("densenet121_s2"), 2), tmp_path, head="if_fits")


def test_cbr_has_no_ready_made_weights(tmp_path: Path) -> None:
    config = network_config("cbr_tiny_w32_same")
    model = build_network(config, 2)
    with pytest.raises(ModelError, match="'cbr_tiny_w32_same': timm's hub holds no weights of it"):
        initialise(model, config, TimmInit())
    file = tmp_path / "plain.safetensors"
    save_file({"conv.weight": torch.zeros(1)}, file)
    with pytest.raises(ModelError, match="plain checkpoints are read for timm's networks only"):
        load_into(model, file, head=False)
