"""The twin that learns permuted labels: it learns them, and nothing of the true ones."""

import numpy as np
import torch

from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.training.random_labels import learn_permuted_labels


def twin(seed):
    images = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network = build_network(NetworkConfig(backbone="test_resnet"), 2, seed=0)
    return images, learn_permuted_labels(network, images, np.arange(16) < 8, 1, seed=seed)


def test_permuted_labels_are_learnt_and_the_same_seed_gives_the_same_twin():
    images, first = twin(0)
    assert first.fitted > 0.8
    assert not first.network.training
    _, again = twin(0)
    _, other = twin(1)
    with torch.no_grad():
        assert torch.equal(first.network(images), again.network(images))
        assert not torch.equal(first.network(images), other.network(images))
