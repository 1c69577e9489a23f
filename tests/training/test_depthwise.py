"""Depthwise convolutions under a CPU's bf16."""

import pytest
import torch
from torch import nn

from medtransfer.training.engine import Engine, HardwareConfig


def convolution(groups, **options):
    return nn.Conv2d(8, 8, 3, padding=1, groups=groups, **options)


def bf16():
    return Engine(HardwareConfig(device="cpu", precision="bf16")).autocast()


@pytest.mark.parametrize(("groups", "exact"), [(8, True), (4, False), (1, False)])
def test_only_depthwise_convolutions_compute_in_fp32_and_all_return_bf16(groups, exact):
    layer, x = convolution(groups, bias=False), torch.randn(2, 8, 9, 9)
    with bf16():
        found = layer(x)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, layer(x).bfloat16()) == exact
    assert layer(x).dtype == torch.float32


def test_a_depthwise_convolution_of_bf16_input_equals_fp32_and_passes_gradients():
    layer, x = convolution(8, stride=2), torch.randn(2, 8, 6, 6).bfloat16().float()
    half = x.bfloat16().requires_grad_()
    with bf16():
        found = layer(half)
    assert torch.equal(found, layer(x).bfloat16())
    found.sum().backward()
    assert half.grad.dtype == torch.bfloat16
    assert half.grad.abs().sum() > 0


def test_where_autocast_is_off_the_result_stays_in_fp32():
    layer, x = convolution(8), torch.randn(2, 8, 6, 6)
    with bf16(), torch.autocast("cpu", enabled=False):
        found = layer(x)
    assert torch.equal(found, layer(x))


def test_fp32_stays_as_it_is():
    with Engine(HardwareConfig(device="cpu", precision="fp32")).autocast():
        assert convolution(1)(torch.randn(1, 8, 5, 5)).dtype == torch.float32
