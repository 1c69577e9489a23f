import numpy as np
import pytest
import torch
from torch import nn

from medtransfer.errors import ModelError
from medtransfer.explain.saliency import saliency


class Weighted(nn.Module):
    """One logit: the sum of squared pixels times a weight of each place."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        return (self.weight * x.square()).sum((1, 2, 3))[:, None]


@pytest.fixture
def weighted():
    weight = torch.zeros(3, 8, 8)
    weight[1, 2, 3], weight[2, 5, 5] = 2.0, -1.0
    return Weighted(weight)


def test_plain_saliency_is_the_largest_absolute_gradient_of_the_channels(weighted):
    heat = saliency(weighted, torch.ones(1, 3, 8, 8), 0)[0]
    assert heat[2, 3] == 1
    assert heat[5, 5] == pytest.approx(0.5)
    assert heat.sum() == pytest.approx(1.5)


def test_smoothed_saliency_averages_over_noise_of_the_seed(weighted):
    images = torch.linspace(-1, 1, 192).reshape(1, 3, 8, 8)
    first, again, other = (saliency(weighted, images, 0, samples=4, noise=0.5, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    leaf = images + 0.5 * 2 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    single = saliency(weighted, images, 0, samples=1, noise=0.5, seed=0)
    expected = (2 * weighted.weight.detach() * leaf).abs().amax(1)
    np.testing.assert_allclose(single, expected / expected.max(), atol=1e-6)


def test_an_output_that_does_not_exist_is_refused(weighted):
    with pytest.raises(ModelError, match="output 1 does not exist, the network has 1; take 0 to 0"):
        saliency(weighted, torch.ones(1, 3, 8, 8), 1)
