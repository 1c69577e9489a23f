import pytest
import torch

from medtransfer.models.classifier import NetworkConfig, attention_layers, build_network
from medtransfer.models.insertion import AttentionConfig


def random_images():
    """Three images whose contrast grows from left to right."""
    noise = torch.randn(3, 3, 96, 64, generator=torch.Generator().manual_seed(2))
    return noise * torch.linspace(0, 3, 64)


def network(count):
    """A ResNet-18 with ATTN layers that have left the identity; both classes find evidence at some places only."""
    config = NetworkConfig(backbone="resnet18", attention=AttentionConfig(count=count), dropout=0.5)
    model = build_network(config, classes=2, seed=0).eval()
    generator = torch.Generator().manual_seed(1)
    for layer in attention_layers(model).values():
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    with torch.no_grad():
        usual = model.feature_map(random_images()).mean((0, 2, 3))
        weight = torch.randn(2, 512, generator=generator)
        model.head.weight.copy_(weight - (weight @ usual)[:, None] * usual / (usual @ usual))
    return model


@pytest.fixture(scope="session")
def plain():
    return network(0)


@pytest.fixture(scope="session")
def attentive():
    return network(5)


@pytest.fixture
def images():
    return random_images()
