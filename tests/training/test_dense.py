"""Fused updates of channels-last weights."""

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.optim import AdamConfig, ConstantSchedule, Group, SGDConfig, build_optimizer

OPTIMIZERS = [
    SGDConfig(lr=0.1),
    SGDConfig(lr=0.1, momentum=0.0),
    AdamConfig(lr=0.1, weight_decay=0.1),
    AdamConfig(name="adamw", lr=0.1, weight_decay=0.1),
]


def fitted(config, layout, update):
    """Return weights and optimiser state after three updates; the last weight never has a gradient."""
    torch.manual_seed(0)
    shapes = ((6, 5, 3, 3), (6, 5, 1, 1), (7,), (4, 3, 3, 3))
    parameters = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    for parameter in parameters:
        parameter.data = parameter.data.to(memory_format=layout) if parameter.ndim == 4 else parameter.data
    groups = [Group(name="all", parameters=parameters, lr=config.lr, schedule=ConstantSchedule())]
    optimizer = build_optimizer(groups, config)
    for _ in range(3):
        for parameter in parameters[:-1]:
            parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape))
        update(optimizer)
    state = [value for entry in optimizer.state.values() for value in entry.values() if value is not None]
    return [parameter.detach() for parameter in parameters], state


def by_engine(optimizer):
    engine = Engine(HardwareConfig(device="cpu"))
    engine.update(optimizer, engine.scaler())


@pytest.mark.parametrize("config", OPTIMIZERS)
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_weights_and_state_are_those_of_the_optimizer_alone_to_the_bit(config, layout):
    found, expected = (fitted(config, layout, update) for update in (by_engine, lambda optimizer: optimizer.step()))
    for one, other in zip((*found[0], *found[1]), (*expected[0], *expected[1]), strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()


@pytest.mark.parametrize("config", OPTIMIZERS)
def test_an_update_copies_no_weight(config):
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        fitted(config, torch.channels_last, lambda optimizer: None)
    before = sum(event.name == "aten::clone" for event in profiled.events())
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        fitted(config, torch.channels_last, by_engine)
    assert sum(event.name == "aten::clone" for event in profiled.events()) == before
