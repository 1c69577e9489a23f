"""Depthwise convolutions under a CPU's bf16."""

import pytest
import torch
from torch import nn

from medtransfer.training.engine import Engine, HardwareConfig


def convolution(groups, **options):
    return nn.Conv2d(8, 8, 3, padding=1, groups=groups, **options)


@pytest.mark.parametrize(("groups", "dtype"), [(8, torch.float32), (4, torch.bfloat16), (1, torch.bfloat16)])
def test_only_depthwise_convolutions_leave_bf16(groups, dtype):
    engine = Engine(HardwareConfig(device="cpu", precision="bf16"))
    with engine.autocast():
        assert convolution(groups)(torch.randn(2, 8, 5, 5)).dtype == dtype
    assert convolution(groups)(torch.randn(2, 8, 5, 5)).dtype == torch.float32


def test_a_depthwise_convolution_of_bf16_input_equals_fp32_and_passes_gradients():
    layer, x = convolution(8, stride=2), torch.randn(2, 8, 6, 6).bfloat16().float()
    half = x.bfloat16().requires_grad_()
    with Engine(HardwareConfig(device="cpu", precision="bf16")).autocast():
        found = layer(half)
    assert torch.equal(found, layer(x))
    found.sum().backward()
    assert half.grad.dtype == torch.bfloat16
    assert half.grad.abs().sum() > 0


def test_fp32_stays_as_it_is():
    with Engine(HardwareConfig(device="cpu", precision="fp32")).autocast():
        assert convolution(1)(torch.randn(1, 8, 5, 5)).dtype == torch.float32
