import math

import pytest
import torch
from torch.nn import functional as F

from medtransfer.errors import ConfigError
from medtransfer.ssl.health import alignment, collapsed, feature_spread, knn_probe, uniformity


def noise(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_features_even_on_the_sphere_have_spread_one_and_are_alive():
    spread = feature_spread(noise(0, 2000, 64))
    assert spread == pytest.approx(1.0, abs=0.02)
    assert not collapsed(spread)


def test_features_in_one_direction_are_collapsed_whatever_their_length():
    features = torch.ones(50, 16) * torch.linspace(1, 9, 50)[:, None]
    assert feature_spread(features) == pytest.approx(0.0, abs=1e-6)
    assert collapsed(feature_spread(features))


def test_nearly_equal_features_are_collapsed():
    assert collapsed(feature_spread(torch.ones(200, 32) + 0.01 * noise(1, 200, 32)))


def test_alignment_is_zero_for_equal_views_and_four_for_opposite_ones():
    x = noise(2, 10, 8)
    assert alignment(x, 3 * x) == pytest.approx(0.0, abs=1e-6)
    assert alignment(x, -x) == pytest.approx(4.0, abs=1e-5)


def test_alignment_and_uniformity_equal_their_literal_sums():
    x, y = noise(3, 6, 4), noise(4, 6, 4)
    u, v = F.normalize(x, dim=1), F.normalize(y, dim=1)
    assert alignment(x, y) == pytest.approx(sum(float((a - b).square().sum()) for a, b in zip(u, v, strict=True)) / 6)
    pairs = [math.exp(-2 * float((u[i] - u[j]).square().sum())) for i in range(6) for j in range(i)]
    assert uniformity(x) == pytest.approx(math.log(sum(pairs) / len(pairs)), abs=1e-5)


def test_collapsed_features_have_the_worst_uniformity():
    assert uniformity(torch.ones(5, 3)) == pytest.approx(0.0, abs=1e-6)
    assert uniformity(noise(5, 200, 32)) < -3


def test_the_probe_equals_a_loop_over_the_nearest():
    train, val = noise(6, 12, 5), noise(7, 4, 5)
    labels = torch.tensor([0, 1, 2] * 4)
    scores = knn_probe(train, labels, val, classes=3, neighbours=5)
    for row, feature in zip(scores, val, strict=True):
        cosine = [float(F.cosine_similarity(feature, other, dim=0)) for other in train]
        nearest = sorted(range(12), key=lambda i: -cosine[i])[:5]
        votes = [sum(math.exp(cosine[i] / 0.07) for i in nearest if labels[i] == c) for c in range(3)]
        assert row.tolist() == pytest.approx([vote / sum(votes) for vote in votes], abs=1e-5)


def test_the_probe_tells_separated_classes_apart():
    centres = torch.eye(4)[:2] * 5
    train = torch.cat([centres[label] + noise(label, 30, 4) * 0.3 for label in (0, 1)])
    labels = torch.arange(2).repeat_interleave(30)
    scores = knn_probe(train, labels, centres, classes=2)
    assert scores.argmax(dim=1).tolist() == [0, 1]
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(2))


def test_more_neighbours_than_training_images_are_refused():
    with pytest.raises(ConfigError, match="neighbours is 20, expected at most the 3 training images"):
        knn_probe(noise(0, 3, 2), torch.zeros(3, dtype=torch.long), noise(1, 1, 2), classes=2)
