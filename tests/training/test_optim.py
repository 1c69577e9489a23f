"""Schedules against their literal values, optimisers, and what a training configuration refuses."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from medtransfer.training.optim import (
    LARS,
    AdamConfig,
    ConstantSchedule,
    CosineSchedule,
    Group,
    LARSConfig,
    MilestoneSchedule,
    PlateauSchedule,
    SGDConfig,
    TrainConfig,
    build_optimizer,
    schedule_factor,
)
from medtransfer.training.state import optimizer_tensors, restore_optimizer


def factors(schedule, total):
    return [schedule_factor(schedule, step, total) for step in range(total)]


def test_milestones_are_fractions_of_the_run():
    found = factors(MilestoneSchedule(at=(0.5, 0.75), gamma=0.1), 8)
    assert found == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_cosine_falls_from_one_to_its_final_share():
    assert factors(CosineSchedule(), 4) == pytest.approx([1, 0.5 + math.sqrt(0.5) / 2, 0.5, 0.5 - math.sqrt(0.5) / 2])
    assert schedule_factor(CosineSchedule(final=0.2), 2, 4) == pytest.approx(0.6)


def test_a_warm_up_rises_linearly_and_the_schedule_follows():
    found = factors(CosineSchedule(warmup_steps=4), 8)
    assert found == pytest.approx([0.25, 0.5, 0.75, 1, 1, 0.5 + math.sqrt(0.5) / 2, 0.5, 0.5 - math.sqrt(0.5) / 2])


@pytest.mark.parametrize("schedule", [ConstantSchedule(warmup_steps=2), PlateauSchedule(warmup_steps=2)])
def test_constant_and_plateau_stay_at_one_behind_the_warm_up(schedule):
    assert factors(schedule, 5) == [0.5, 1, 1, 1, 1]


def config(**changes):
    return TrainConfig(**({"steps": 4, "batch_size": 64, "optimizer": SGDConfig(lr=0.03)} | changes))


def test_the_linear_scaling_rule_multiplies_by_batch_over_reference():
    assert config().learning_rate == 0.03
    scaled = SGDConfig(lr=0.03, reference_batch=256)
    assert config(optimizer=scaled).learning_rate == pytest.approx(0.0075)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"epochs": 3}, "give exactly one of epochs and steps"),
        ({"steps": None}, "give exactly one of epochs and steps"),
        ({"schedule": PlateauSchedule()}, "a plateau schedule needs a selection metric to watch"),
        ({"batch_size": 0}, "greater than 0"),
        ({"batch_size": 1}, "batch_size is 1, expected at least 2: batch norm cannot normalise one image alone"),
        ({"save_every_s": -1}, "greater than or equal to 0"),
        ({"optimizer": {"name": "lion", "lr": 1}}, "'sgd', 'adam', 'adamw', 'lars'"),
        ({"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 1.0}}, "less than 1"),
        ({"optimizer": {"name": "adam", "lr": 0.1, "weight_decay": -1}}, "greater than or equal to 0"),
        ({"schedule": {"name": "milestones", "at": [1.5]}}, "less than 1"),
        ({"schedule": {"name": "cosine", "warmup_steps": -1}}, "greater than or equal to 0"),
        ({"clipnorm": 1}, "Extra inputs are not permitted"),
    ],
)
def test_an_impossible_configuration_is_refused(changes, text):
    with pytest.raises(ValidationError, match=text):
        config(**changes)


@pytest.mark.parametrize(
    ("optimizer", "kind"),
    [
        (SGDConfig(lr=0.1, momentum=0.8), torch.optim.SGD),
        (AdamConfig(lr=0.1), torch.optim.Adam),
        (AdamConfig(name="adamw", lr=0.1), torch.optim.AdamW),
        (LARSConfig(lr=0.1), LARS),
    ],
)
def test_groups_keep_their_own_rate_and_decay(optimizer, kind):
    body, head = nn.Linear(2, 2), nn.Linear(2, 1)
    groups = [
        Group(name="body", parameters=list(body.parameters()), lr=0.01, schedule=ConstantSchedule()),
        Group(name="head", parameters=list(head.parameters()), lr=0.5, schedule=ConstantSchedule(), weight_decay=0.0),
    ]
    built = build_optimizer(groups, optimizer.model_copy(update={"weight_decay": 0.3}))
    assert type(built) is kind
    assert [(entry["lr"], entry["weight_decay"]) for entry in built.param_groups] == [(0.01, 0.3), (0.5, 0.0)]
    if kind is torch.optim.SGD:
        assert built.param_groups[0]["momentum"] == 0.8


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2)).double()


def lars(network, rates, *, momentum=0.9, weight_decay=0.1, trust=0.02):
    """Train on squared outputs, one step a rate."""
    group = Group(name="all", parameters=list(network.parameters()), lr=1.0, schedule=ConstantSchedule())
    settings = LARSConfig(lr=1.0, momentum=momentum, weight_decay=weight_decay, trust=trust)
    optimizer = build_optimizer([group], settings)
    images = torch.randn(5, 2, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        network(images).square().sum().backward()
        yield [(p.detach().clone(), p.grad.clone()) for p in network.parameters()]
        optimizer.step()


def test_lars_equals_the_literal_algorithm_under_a_changing_rate():
    network, rates, velocity, expected = small_network(), (0.5, 1.0, 0.25), {}, []
    for rate, before in zip(rates, lars(network, rates), strict=True):
        torch.testing.assert_close([w for w, _ in before][: len(expected)], expected)
        expected = []
        for number, (w, gradient) in enumerate(before):
            layer = w.ndim > 1
            d = gradient + 0.1 * w if layer else gradient
            local = 0.02 * float(w.square().sum()) ** 0.5 / float(d.square().sum()) ** 0.5 if layer else 1.0
            velocity[number] = 0.9 * velocity.get(number, 0.0) + rate * local * d
            expected.append(w - velocity[number])
    torch.testing.assert_close([p.detach() for p in network.parameters()], expected)


def test_the_step_of_a_layer_does_not_depend_on_the_scale_of_its_gradient():
    def moved(scale):
        network = small_network()
        before = network[0].weight.detach().clone()
        optimizer = LARS(network.parameters(), lr=1.0, momentum=0.0, weight_decay=0.0, trust=0.01)
        network[0].weight.grad = scale * torch.ones_like(before)
        optimizer.step()
        return network[0].weight.detach() - before

    torch.testing.assert_close(moved(1.0), moved(1e6))
    assert float(moved(1.0).norm()) == pytest.approx(0.01 * float(small_network()[0].weight.detach().norm()))


@pytest.mark.parametrize(("weight", "gradient", "moved"), [(0.0, 2.0, -1.0), (3.0, 0.0, 0.0)])
def test_a_layer_of_norm_zero_or_without_a_gradient_moves_at_the_global_rate(weight, gradient, moved):
    layer = nn.Linear(2, 2, bias=False)
    nn.init.constant_(layer.weight, weight)
    layer.weight.grad = torch.full_like(layer.weight, gradient)
    LARS(layer.parameters(), lr=0.5, momentum=0.0, weight_decay=0.0, trust=0.01).step()
    assert layer.weight.flatten().tolist() == [weight + moved] * 4


def test_lars_goes_on_from_its_saved_tensors_as_if_never_stopped():
    def make(network):
        return LARS(network.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1, trust=0.02)

    def step(network, optimizer):
        network[0].weight.grad = torch.ones_like(network[0].weight)
        optimizer.step()
        return network[0].weight.detach().clone()

    straight, resumed, fresh = small_network(), small_network(), small_network()
    optimizer = make(straight)
    step(straight, optimizer)
    resumed.load_state_dict(straight.state_dict())
    fresh.load_state_dict(straight.state_dict())
    other = make(resumed)
    restore_optimizer(other, optimizer_tensors(optimizer))
    expected = step(straight, optimizer)
    assert torch.equal(step(resumed, other), expected)
    assert not torch.equal(step(fresh, make(fresh)), expected)
