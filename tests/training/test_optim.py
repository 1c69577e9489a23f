"""Schedules against their literal values, optimisers, and what a training configuration refuses."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from medtransfer.training.optim import (
    AdamConfig,
    ConstantSchedule,
    CosineSchedule,
    MilestoneSchedule,
    PlateauSchedule,
    SGDConfig,
    TrainConfig,
    build_optimizer,
    schedule_factor,
)
from medtransfer.training.task import Group


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
        ({"save_every_s": -1}, "greater than or equal to 0"),
        ({"optimizer": {"name": "lion", "lr": 1}}, "'sgd', 'adam', 'adamw'"),
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
