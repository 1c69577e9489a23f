import pytest
import torch
from torch import nn


class TinyEncoder(nn.Module):
    """A convolution with batch norm: the two members that every encoder has."""

    width = 8

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, self.width, 3, padding=1), nn.BatchNorm2d(self.width), nn.ReLU())

    def features(self, x):
        return self.net(x).mean(dim=(2, 3))


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return TinyEncoder()


@pytest.fixture
def make_batch():
    def make(images=6, *, first=0, seed=0):
        generator = torch.Generator().manual_seed(seed)
        query, key = (torch.randn(images, 3, 8, 8, generator=generator) for _ in range(2))
        regions = torch.randn(5 * images, 3, 8, 8, generator=generator)
        return {"query": query, "key": key, "regions": regions, "index": torch.arange(first, first + images)}

    return make
