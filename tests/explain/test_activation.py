"""Regularisers and steps against keras-vis's, which the golden vectors recompute with explicit loops."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medtransfer.errors import ModelError
from medtransfer.explain.activation import (
    MaximizationConfig,
    class_unit,
    deprocess,
    filter_unit,
    l6_norm,
    maximize,
    objective,
    preset,
    rmsprop_step,
    start_noise,
    total_variation,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "kerasvis.json").read_text())


def channels_first(values):
    return torch.tensor(values, dtype=torch.float64).permute(2, 0, 1)[None]


IMAGE = channels_first(GOLDEN["image_hwc"])


def test_regularisers_are_those_of_the_golden_vectors():
    assert float(total_variation(IMAGE)) == pytest.approx(GOLDEN["tv_beta2_normalised"], rel=1e-12)
    assert float(l6_norm(IMAGE)) == pytest.approx(GOLDEN["lp6_normalised"], rel=1e-12)
    weights, config = GOLDEN["weights"], MaximizationConfig()
    assert (config.activation_weight, config.norm_weight, config.variation_weight) == tuple(
        weights[name] for name in ("act", "lp", "tv")
    )
    total = -3 + 10 * GOLDEN["lp6_normalised"] + 10 * GOLDEN["tv_beta2_normalised"]
    assert float(objective(torch.tensor([3.0]), IMAGE, config)) == pytest.approx(total)


def test_steps_are_those_of_the_golden_vectors():
    gradient = channels_first(GOLDEN["raw_gradient"])
    first, cache = rmsprop_step(gradient, torch.zeros_like(gradient))
    second, _ = rmsprop_step(gradient, cache)
    np.testing.assert_allclose(first, channels_first(GOLDEN["rmsprop_step_1"]), rtol=1e-9)
    np.testing.assert_allclose(second, channels_first(GOLDEN["rmsprop_step_2_same_gradient"]), rtol=1e-9)


def test_the_result_is_brought_to_grey_levels_like_the_golden_vectors():
    np.testing.assert_allclose(deprocess(IMAGE), channels_first(GOLDEN["deprocessed_0_255"]), rtol=1e-6)


def test_the_gradient_of_the_norm_is_right():
    leaf = IMAGE.clone().requires_grad_()
    assert torch.autograd.gradcheck(l6_norm, leaf)


def test_start_noise_has_the_mean_and_spread_of_the_library():
    noise = start_noise((3, 32, 32), torch.Generator().manual_seed(0))
    assert float(noise.mean()) == pytest.approx(127.5, abs=1e-3)
    assert float(noise.std(correction=0)) == pytest.approx(12.75, abs=1e-3)


def test_presets_are_those_of_the_paper():
    assert preset("2a") == MaximizationConfig(iterations=2048, jitter=0, variation_weight=10)
    assert preset("2b") == preset("3") == MaximizationConfig(iterations=2048, jitter=0.05, variation_weight=0)
    assert int(224 * preset("3").jitter) == GOLDEN["jitter_pixels_for_224_at_0.05"]


@pytest.fixture
def network():
    """Two filters: bright left halves, bright right halves; the logit is the first minus the second."""
    conv = nn.Conv2d(1, 2, 8)
    with torch.no_grad():
        conv.weight[0, 0], conv.weight[1, 0] = 0, 0
        conv.weight[0, 0, :, :4], conv.weight[1, 0, :, 4:] = 1, 1
    head = nn.Linear(2, 1)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, -1.0]]))
    return nn.Sequential(conv, nn.Flatten(), head)


def found(network, unit, layer="", **changes):
    config = MaximizationConfig(iterations=60, norm_weight=0, variation_weight=0, **changes)
    return maximize(network, unit, config, shape=(1, 8, 8), normalize=lambda x: x / 255, layer=layer)[0]


def test_the_image_shows_what_the_unit_reads(network):
    for unit, layer, left in ((class_unit(0), "", True), (class_unit(0, sign=-1), "", False)):
        image = found(network, unit, layer)
        assert (image[:, :4].mean() > image[:, 4:].mean() + 20) == left
    assert found(network, filter_unit(1), "0")[:, 4:].mean() > found(network, filter_unit(1), "0")[:, :4].mean() + 5


def test_the_seed_decides_the_image(network):
    first, again, other = (found(network, class_unit(0), seed=seed, jitter=0.3) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_units_and_layers_that_do_not_exist_are_named(network):
    with pytest.raises(ModelError, match=r"no such unit in 0, whose shape is \[2, 1, 1\]"):
        found(network, filter_unit(5), "0")
    with pytest.raises(ModelError, match="layer 'conv' does not exist"):
        found(network, filter_unit(0), "conv")
