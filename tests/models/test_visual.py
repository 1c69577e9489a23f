"""The networks of West et al. 2020: sizes as the reference computed them, loading, what their heads read."""

import pytest
import torch

from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.heads import Head
from medtransfer.models.visual import BenchmarkConfig, ConvolutionHeadConfig
from medtransfer.models.weights import load_into, load_model, save_weights


def parameters(module):
    return sum(one.numel() for one in module.parameters())


def test_the_benchmark_has_the_paper_s_size():
    with torch.device("meta"):
        assert parameters(build_network(BenchmarkConfig(side=224), 1)) == 102_835_585


@pytest.mark.parametrize(
    ("backbone", "trunk", "head"), [("vgg16", 14_714_688, 294_976 + 65), ("densenet121", 6_953_856, 589_888 + 65)]
)
def test_a_base_and_its_head_have_the_paper_s_size(backbone, trunk, head):
    model = build_network(ConvolutionHeadConfig(backbone=backbone), 1)
    assert (parameters(model.trunk), parameters(model.head)) == (trunk, head)


def test_a_base_takes_the_weights_of_the_whole_network(tmp_path):
    whole = NetworkConfig(backbone="vgg11")
    source = build_network(whole, 3, seed=1)
    head = Head(outputs=("a", "b", "c"), activation="softmax", kind="probability")
    save_weights(source, tmp_path, config=whole, heads={"label": head}, preprocessing={})
    model = build_network(ConvolutionHeadConfig(backbone="vgg11"), 1, seed=0)
    report = load_into(model, tmp_path, head=False)
    assert all(key.startswith(("trunk.pre_logits.", "head.")) for key in report.ignored)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.eval().feature_map(images), source.eval().feature_map(images))


@pytest.mark.parametrize(
    "config", [BenchmarkConfig(side=32), ConvolutionHeadConfig(backbone="resnet18", cut="layer2", filters=8)]
)
def test_a_network_is_stored_and_comes_back(tmp_path, config):
    model = build_network(config, 1, seed=0).eval()
    head = Head(outputs=("covid",), activation="sigmoid", kind="probability")
    save_weights(model, tmp_path, config=config, heads={"label": head}, preprocessing={})
    loaded, _ = load_model(tmp_path)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), model(images))
        assert model.features(images).shape == (2, model.width)
