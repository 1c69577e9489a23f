"""The control of ATTN layers, the start of gamma, and a trunk that stays as it is while inserted layers learn."""

import pytest
import torch
from torch import nn

from medtransfer.errors import ModelError
from medtransfer.models.attention import AttentionLayer
from medtransfer.models.classifier import (
    NetworkConfig,
    attention_layers,
    build_network,
    freeze_trunk,
    inserted_layers,
    inserted_off,
    layer_report,
)
from medtransfer.models.inserted import ConvolutionLayer, control_width
from medtransfer.models.insertion import AttentionConfig

SITES = ("layer2.0", "layer3.0")
TOLERANCE = 0.01
"""Largest relative difference in parameters between ATTN layers and their control."""


def build(kind, **attention):
    config = AttentionConfig.model_validate({"kind": kind, "sites": SITES, **attention})
    return build_network(NetworkConfig(backbone="test_resnet", attention=config), classes=3, seed=0)


def count(layers):
    return sum(parameter.numel() for layer in layers for parameter in layer.parameters())


@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "tf_efficientnet_lite1", "resnet18"])
def test_the_control_has_as_many_trainable_parameters_at_the_same_sites(backbone):
    networks = [
        build_network(NetworkConfig(backbone=backbone, attention=AttentionConfig(kind=kind, count=5)), classes=2)
        for kind in ("attention", "convolution")
    ]
    attention, control = (list(inserted_layers(network).values()) for network in networks)
    assert networks[0].attention_sites == networks[1].attention_sites
    assert {type(layer) for layer in control} == {ConvolutionLayer}
    assert count(control) == pytest.approx(count(attention), rel=TOLERANCE)
    for one, other in zip(attention, control, strict=True):
        assert count([other]) == pytest.approx(count([one]), rel=TOLERANCE)


@pytest.mark.parametrize(("channels", "width"), [(16, 8), (40, 20), (512, 256)])
def test_the_width_of_the_control_is_the_best_one(channels, width):
    wanted = count([AttentionLayer(channels, width=width)])
    best = control_width(channels, width)
    off = {w: abs(count([ConvolutionLayer(channels, width=w)]) - wanted) for w in (best - 1, best, best + 1)}
    assert min(off, key=off.get) == best == 2 * width


def test_a_new_control_is_the_identity_and_an_open_one_sees_each_position_by_itself():
    x = torch.randn(2, 16, 5, 5)
    assert torch.equal(ConvolutionLayer(16, width=16).eval()(x), x)
    layer = ConvolutionLayer(16, width=16, gamma=1.0).eval()
    nn.init.normal_(layer.project.weight)
    changed = x.clone()
    changed[:, :, 2, 3] += 1
    moved = (layer(changed) - layer(x)).abs().sum(dim=(0, 1)) > 1e-6
    assert moved.nonzero().tolist() == [[2, 3]]


@pytest.mark.parametrize("kind", ["attention", "convolution"])
def test_gamma_starts_as_asked_and_switching_off_gives_the_plain_network(kind):
    plain = build_network(NetworkConfig(backbone="test_resnet"), classes=3, seed=0).eval()
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(build(kind).eval()(images), plain(images))
    model = build(kind, gamma=0.3).eval()
    assert [layer.gamma_abs for layer in inserted_layers(model).values()] == pytest.approx([0.3, 0.3])
    assert not torch.equal(model(images), plain(images))
    with inserted_off(model):
        assert torch.equal(model(images), plain(images))


def test_a_control_has_no_attention_to_report():
    report = layer_report(build("convolution"), torch.randn(2, 3, 64, 64))
    assert report == {site: {"gamma_abs": 0.0} for site in SITES}
    assert attention_layers(build("convolution")) == {}


@pytest.mark.parametrize("kind", ["attention", "convolution"])
def test_a_frozen_trunk_keeps_weights_and_statistics_while_inserted_layers_and_head_learn(kind):
    model = build(kind)
    freeze_trunk(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.randn(4, 3, 64, 64)), torch.tensor([0, 1, 2, 0])).backward()
        optimizer.step()
    after = model.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert not any(name.startswith("trunk.") for name in changed)
    assert {"head.weight", "attention.layer2_0.norm.weight", "attention.layer2_0.norm.running_mean"} <= changed
    assert "attention.layer3_0.project.weight" in changed


def test_a_network_without_inserted_layers_has_nothing_to_warm_up():
    with pytest.raises(ModelError, match="without inserted layers has nothing to train"):
        freeze_trunk(build_network(NetworkConfig(backbone="test_resnet"), classes=3))
