import math

import pytest
import torch
from torch import nn

from medtransfer.explain.capture import inputs_of, to_unit_heat, undisturbed


def literal_resize(heat, size):
    """Bilinear with pixel centres at half numbers, clamped at the edge, one pixel at a time."""
    rows, columns = heat.shape
    result = torch.zeros(size, dtype=heat.dtype)
    for y in range(size[0]):
        for x in range(size[1]):
            v = min(max((y + 0.5) * rows / size[0] - 0.5, 0), rows - 1)
            u = min(max((x + 0.5) * columns / size[1] - 0.5, 0), columns - 1)
            top, left = math.floor(v), math.floor(u)
            bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
            upper = heat[top, left] * (1 - (u - left)) + heat[top, right] * (u - left)
            lower = heat[bottom, left] * (1 - (u - left)) + heat[bottom, right] * (u - left)
            result[y, x] = upper * (1 - (v - top)) + lower * (v - top)
    return result


def test_heat_equals_the_literal_resize_and_stretch():
    heat = torch.rand(2, 3, 2, dtype=torch.float64)
    for found, own in zip(to_unit_heat(heat, (7, 9)), heat, strict=True):
        large = literal_resize(own, (7, 9))
        torch.testing.assert_close(found, (large - large.min()) / (large.max() - large.min()))


def test_each_map_is_stretched_over_its_own_range():
    heat = torch.rand(4, 3, 3) * torch.tensor([1e-6, 1.0, 50.0, 1e6]).view(4, 1, 1) + 1e-7
    unit = to_unit_heat(heat, (12, 12))
    assert unit.amin((1, 2)).tolist() == [0.0] * 4
    assert unit.amax((1, 2)).tolist() == [1.0] * 4


@pytest.mark.parametrize("value", [0.0, 1 / 49, 3.7])
def test_a_map_without_contrast_is_zero_and_never_nan(value):
    assert not to_unit_heat(torch.full((2, 7, 7), value), (30, 20)).any()


def test_modes_are_given_back_one_module_at_a_time():
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(), nn.Sequential(nn.Dropout()))
    model.train()
    model[0].eval()
    before = [module.training for module in model.modules()]
    with undisturbed(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == before


def test_modes_come_back_and_hooks_go_after_an_error():
    model = nn.Sequential(nn.BatchNorm2d(2))
    with pytest.raises(ValueError, match="expected 4D"), undisturbed(model), inputs_of(model[0]):
        model(torch.zeros(2))
    assert model.training
    assert not model[0]._forward_pre_hooks


def test_a_map_is_computed_in_single_precision_under_autocast():
    layer = nn.Linear(2, 2)
    with torch.autocast("cpu", torch.bfloat16), undisturbed(layer):
        assert layer(torch.zeros(1, 2)).dtype == torch.float32


def test_inputs_are_collected_without_their_graph():
    layer = nn.Linear(2, 2)
    x = torch.ones(1, 2, requires_grad=True)
    with inputs_of(layer) as seen:
        layer(2 * x)
    assert [value.tolist() for value in seen] == [[[2.0, 2.0]]]
    assert not seen[0].requires_grad
