"""PCAM pooling against explicit loops, and the classifier that it is the head of."""

import json

import pytest
import torch
from torch import nn

from medtransfer.errors import ModelError
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.networks import network_config
from medtransfer.models.pcam import PcamHead, pcam_weights
from medtransfer.models.weights import load_into, load_model, save_weights
from network_heads import FINDINGS


@pytest.fixture
def gold(checkout):
    return json.loads((checkout / "tests/golden/pcam.json").read_text())


@pytest.mark.parametrize("case", ["", "constant_logit"])
def test_pooling_and_logit_are_those_of_the_loops(gold, case):
    maps = torch.tensor(gold["feat"], dtype=torch.float64)[None]
    expected = gold[case] if case else gold
    head = PcamHead(3, 1).double()
    head.load_state_dict({"weight": torch.tensor([expected["weight"]]), "bias": torch.tensor([expected["bias"]])})
    activation = head.activation_map(maps)
    weights = pcam_weights(activation.flatten(2))[0, 0]
    pooled = (maps[0].flatten(1) * weights).sum(1)
    exact = {"rtol": 0, "atol": 1e-9}
    torch.testing.assert_close(activation[0, 0], torch.tensor(expected["logit_map"], dtype=torch.float64), **exact)
    torch.testing.assert_close(
        weights.reshape(2, 2), torch.tensor(expected["weight_map"], dtype=torch.float64), **exact
    )
    torch.testing.assert_close(pooled, torch.tensor(expected["pooled"], dtype=torch.float64), **exact)
    assert head(maps).item() == pytest.approx(expected["logit"], abs=1e-9)
    assert (head.weight @ pooled + head.bias).item() == pytest.approx(expected["logit"], abs=1e-9)


def test_without_contrast_pcam_is_average_pooling(gold):
    weights = pcam_weights(torch.full((1, 4), 3.0))
    assert weights.tolist() == [[0.25] * 4]
    assert gold["constant_logit"]["pooled"] == gold["gap_pooled"]


def test_positions_that_all_deny_a_finding_still_share_the_weight():
    assert pcam_weights(torch.tensor([-400.0, -400.0])).tolist() == [0.5, 0.5]


def test_the_network_of_that_name_differs_from_the_plain_one_in_pooling_alone():
    config = network_config("test_resnet_pcam")
    assert config == NetworkConfig(backbone="test_resnet", pooling="pcam")
    assert config.title == "test_resnet_pcam"
    pcam, plain = (build_network(one, 2, seed=0).eval() for one in (config, NetworkConfig(backbone="test_resnet")))
    assert {k: v.shape for k, v in pcam.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
    images = torch.randn(2, 3, 64, 64)
    pcam.load_state_dict(plain.state_dict())
    assert torch.equal(pcam.features(images), plain.features(images))
    assert not torch.allclose(pcam(images), plain(images))
    assert not plain.reads_lungs
    with pytest.raises(ModelError, match="reads no lung mask"):
        pcam(images, torch.ones(2, 64, 64, dtype=torch.bool))
    with pytest.raises(ModelError, match="a flattened head pools nothing"):
        NetworkConfig(pooling="pcam", flatten_at=64)


def test_it_is_stored_with_its_pooling_and_starts_from_average_pooled_weights(tmp_path):
    config = network_config("test_resnet_pcam")
    model = build_network(config, 2, seed=0).eval()
    assert isinstance(model.head, PcamHead)
    assert model.head.bias.tolist() == [0, 0]
    save_weights(model, tmp_path, config=config, heads=FINDINGS, preprocessing={})
    loaded, _ = load_model(tmp_path)
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(loaded(images), model.to(memory_format=torch.channels_last)(images))
    other = build_network(NetworkConfig(backbone="test_resnet"), 2, seed=1)
    report = load_into(other, tmp_path, head="if_fits")
    assert not report.ignored
    assert isinstance(other.head, nn.Linear)
