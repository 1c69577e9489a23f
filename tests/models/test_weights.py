import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file

from medtransfer.errors import CheckpointError, ModelError
from medtransfer.files import read_json, write_sealed
from medtransfer.models.classifier import Classifier, NetworkConfig, attention_layers, build_network
from medtransfer.models.heads import Head, activate
from medtransfer.models.insertion import AttentionConfig
from medtransfer.models.weights import (
    FileInit,
    InitConfig,
    TimmInit,
    TrainInit,
    initialise,
    load_into,
    load_model,
    save_weights,
)
from network_heads import LABEL_AND_ZONES, class_heads

PLAIN = NetworkConfig(backbone="test_resnet")
ATTENTIVE = NetworkConfig(backbone="test_resnet", attention=AttentionConfig(sites=("layer2.0", "layer4.0")))
CLASSES = ("covid", "other")
HEADS = class_heads(CLASSES)


def save(folder: Path, config: NetworkConfig = ATTENTIVE, *, seed: int = 0) -> Classifier:
    model = build_network(config, len(CLASSES), seed=seed)
    for layer in attention_layers(model).values():
        torch.nn.init.ones_(layer.norm.weight)
    save_weights(model, folder, config=config, heads=HEADS, preprocessing={"size": 64}, extra={"seed": seed})
    return model.eval()


def plain_timm(path: Path, *, classes: int = 5, backbone: str = "test_resnet") -> torch.nn.Module:
    torch.manual_seed(3)
    model: torch.nn.Module = timm.create_model(backbone, num_classes=classes).eval()
    save_file(model.state_dict(), path) if path.suffix == ".safetensors" else torch.save(model.state_dict(), path)
    return model


def test_a_saved_network_loads_equal_with_its_description(tmp_path: Path) -> None:
    model, x = save(tmp_path), torch.randn(2, 3, 64, 64)
    loaded, description = load_model(tmp_path)
    assert torch.equal(loaded(x), model.to(memory_format=torch.channels_last)(x))
    assert not loaded.training
    assert description["heads"] == HEADS
    assert (description["preprocessing"], description["extra"]) == ({"size": 64}, {"seed": 0})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    save(tmp_path / "a")
    save(tmp_path / "b")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_plain_checkpoint_loads_exactly_under_attention(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"plain.{suffix}"
    plain, x = plain_timm(file), torch.randn(2, 3, 64, 64)
    model = build_network(ATTENTIVE, 5, seed=9)
    report = load_into(model, file, head=True)
    assert torch.equal(model.eval()(x), plain(x))
    assert all(key.startswith("attention.") for key in report.kept)
    assert set(report.loaded) | set(report.kept) == set(model.state_dict())


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_convnext"])
def test_plain_checkpoints_of_other_families_load_exactly(tmp_path: Path, backbone: str) -> None:
    file, x = tmp_path / "plain.safetensors", torch.randn(2, 3, 64, 64)
    plain = plain_timm(file, backbone=backbone)
    config = NetworkConfig(backbone=backbone)
    model = build_network(config, 5, seed=9).eval()
    load_into(model, file, head=True)
    assert torch.equal(model(x), plain(x))


def test_a_head_that_does_not_fit_is_left_alone_or_refused_as_asked(tmp_path: Path) -> None:
    file = tmp_path / "plain.safetensors"
    plain_timm(file)
    for wish in (False, "if_fits"):
        model = build_network(PLAIN, 2, seed=9)
        before = model.head.weight.clone()
        report = load_into(model, file, head=wish)
        assert torch.equal(model.head.weight, before)
        assert report.ignored == ("head.bias", "head.weight")
    with pytest.raises(ModelError, match=r"2 of another shape: head.bias \(5,\) instead of \(2,\)"):
        load_into(build_network(PLAIN, 2), file, head=True)


def test_a_plain_fit_starts_an_attentive_one(tmp_path: Path) -> None:
    source, x = save(tmp_path, PLAIN), torch.randn(2, 3, 64, 64)
    model = build_network(ATTENTIVE, 2, seed=5)
    report = load_into(model, tmp_path, head="if_fits")
    assert torch.equal(model.eval()(x), source(x))
    assert {key.split(".")[0] for key in report.kept} == {"attention"}


def test_attention_is_never_dropped_in_silence(tmp_path: Path) -> None:
    save(tmp_path, ATTENTIVE)
    expected = r"\d+ without a place in the network: attention.layer2_0.*; check backbone, attention and head"
    with pytest.raises(ModelError, match=expected):
        load_into(build_network(PLAIN, 2), tmp_path, head=True)


def test_another_networks_checkpoint_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    plain_timm(file, backbone="test_efficientnet")
    model = build_network(PLAIN, 5, seed=0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ModelError, match=r"the weights are of another network \(\d+ missing: trunk.conv1"):
        load_into(model, file, head=True)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_folder_is_refused(tmp_path: Path, name: str, damage: str) -> None:
    save(tmp_path)
    path = tmp_path / name
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[2] ^= 0xFF
    path.unlink() if damage == "gone" else path.write_bytes(data[: len(data) // 2] if damage == "cut" else data)
    with pytest.raises(CheckpointError, match=f"{name}: (missing|damaged|format)"):
        load_model(tmp_path)


def test_a_foreign_description_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["ResNet"]}))
    with pytest.raises(
        CheckpointError, match=r"config.json: format None is not that of this version, expected 'medtransfer-2'"
    ):
        load_model(tmp_path)


def test_the_format_before_heads_is_refused(tmp_path: Path) -> None:
    save(tmp_path)
    path = tmp_path / "config.json"
    description = json.loads(path.read_text()) | {"format": "medtransfer-1", "classes": list(CLASSES)}
    path.write_text(json.dumps(description))
    expected = r"config.json: format 'medtransfer-1' is not that of this version, .* run its stage again"
    for read in (load_model, lambda folder: load_into(build_network(PLAIN, 2), folder, head=False)):
        with pytest.raises(CheckpointError, match=expected):
            read(tmp_path)


LABEL = HEADS["label"].model_dump(mode="json")


@pytest.mark.parametrize(
    "heads",
    [
        None,
        {},
        [LABEL],
        {"label": LABEL | {"activation": "tanh"}},
        {"label": {key: value for key, value in LABEL.items() if key != "kind"}},
        {"label": LABEL | {"outputs": []}},
        {"label": LABEL, "other": LABEL},
    ],
)
def test_damaged_heads_are_refused_where_they_are_needed(tmp_path: Path, heads: Any) -> None:
    source = save(tmp_path)
    path = tmp_path / "config.json"
    write_sealed(path, read_json(path) | {"heads": heads})
    with pytest.raises(CheckpointError, match=r"config.json: damaged heads \(.+\); run the stage .* again$"):
        load_model(tmp_path)
    model = build_network(ATTENTIVE, 2, seed=5)
    load_into(model, tmp_path, head=True)
    assert torch.equal(model.head.weight, source.head.weight)


def test_heads_of_another_number_of_outputs_do_not_load(tmp_path: Path) -> None:
    save(tmp_path)
    path = tmp_path / "config.json"
    heads = {"label": LABEL | {"outputs": ["a", "b", "c"]}}
    write_sealed(path, read_json(path) | {"heads": heads})
    with pytest.raises(CheckpointError, match=r"weights and config.json do not belong together"):
        load_model(tmp_path)


def test_several_heads_come_back_in_their_order(tmp_path: Path) -> None:
    heads = dict(reversed(LABEL_AND_ZONES.items()))
    save_weights(build_network(PLAIN, 9, seed=0), tmp_path, config=PLAIN, heads=heads, preprocessing={})
    model, description = load_model(tmp_path)
    assert list(description["heads"].items()) == list(heads.items())
    scores, raw = activate(model(torch.zeros(2, 3, 64, 64)), heads), model(torch.zeros(2, 3, 64, 64))
    torch.testing.assert_close(scores["zones"], raw[:, :6])
    torch.testing.assert_close(scores["label"], raw[:, 6:].softmax(1))


def test_a_description_of_another_network_is_refused(tmp_path: Path) -> None:
    save(tmp_path)
    path = tmp_path / "config.json"
    write_sealed(path, read_json(path) | {"network": PLAIN.model_dump(mode="json")})
    with pytest.raises(CheckpointError, match=r"weights and config.json do not belong together"):
        load_model(tmp_path)


def test_a_pickle_that_runs_code_is_refused_without_running_it(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    file = tmp_path / "trap.pth"
    file.write_bytes(pickle.dumps({"weight": Trap()}))
    with pytest.raises(CheckpointError, match=r"trap.pth: damaged, or holds more than tensors"):
        load_into(build_network(PLAIN, 2), file, head=False)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("name", "message"), [("none.pth", "no such checkpoint"), ("bad.safetensors", "damaged")])
def test_a_missing_or_broken_file_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"not safetensors at all")
    with pytest.raises(CheckpointError, match=f"{name}: {message}"):
        load_into(build_network(PLAIN, 2), tmp_path / name, head=False)


def test_heads_must_fit_the_network(tmp_path: Path) -> None:
    sigmoid = {"findings": Head(outputs=("covid",), activation="sigmoid", kind="probability")}
    with pytest.raises(ModelError, match=r"heads \['findings'\] name 1 outputs, the network has 2"):
        save_weights(build_network(PLAIN, 2), tmp_path, config=PLAIN, heads=sigmoid, preprocessing={})


def test_initial_weights_are_random_or_a_file_as_configured(tmp_path: Path) -> None:
    source = save(tmp_path, PLAIN)
    union: TypeAdapter[Any] = TypeAdapter(InitConfig)
    model = build_network(PLAIN, 2, seed=7)
    assert initialise(model, PLAIN, union.validate_python({"kind": "train"})).loaded == ()
    assert not torch.equal(model.head.weight, source.head.weight)
    initialise(model, PLAIN, union.validate_python({"kind": "file", "path": str(tmp_path)}))
    assert torch.equal(model.head.weight, source.head.weight)
    assert union.validate_python({"kind": "timm"}) == TimmInit()
    assert (TrainInit().kind, FileInit(path=tmp_path).kind) == ("train", "file")


def test_an_unreachable_hub_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str, *, pretrained: bool) -> None:
        raise ConnectionError("no route to host")

    model = build_network(PLAIN, 2)
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ModelError, match=r"weights 'test_resnet.r160_in1k' could not be fetched .*\(ConnectionError\)"):
        initialise(model, PLAIN, TimmInit(tag="r160_in1k"))


@pytest.mark.parametrize(
    ("backbone", "sites"),
    [
        ("resnet50", ("layer2.3", "layer4.2")),
        ("densenet121", ("features.denseblock3",)),
        ("tf_efficientnet_lite0", ("blocks.4.2",)),
        ("test_convnext", ("stages.2.blocks.3",)),
    ],
)
def test_every_family_with_attention_builds_runs_saves_and_loads(
    backbone: str, sites: tuple[str, ...], tmp_path: Path
) -> None:
    config = NetworkConfig(backbone=backbone, attention=AttentionConfig(sites=sites), dropout=0.1)
    model, x = build_network(config, 2, seed=0), torch.randn(2, 3, 64, 64)
    model(x).square().sum().backward()
    for layer in attention_layers(model).values():
        assert layer.norm.weight.grad is not None
        assert layer.norm.weight.grad.abs().sum() > 0
    save_weights(model, tmp_path, config=config, heads=HEADS, preprocessing={})
    loaded, _ = load_model(tmp_path)
    assert torch.equal(loaded(x), model.eval().to(memory_format=torch.channels_last)(x))
