import copy

import pytest
import torch

from medtransfer.models import cost as cost_module
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.cost import (
    MeasuredCost,
    count_cost,
    inference_seconds,
    measure_costs,
    step_seconds,
)
from medtransfer.models.networks import network_config


@pytest.mark.parametrize(("name", "billions"), [("resnet50", 4.09), ("densenet121", 2.83)])
def test_multiply_adds_are_those_that_are_known_of_the_networks(name: str, billions: float) -> None:
    cost = count_cost(build_network(network_config(name), 1000), 224)
    assert cost.multiply_adds / 1e9 == pytest.approx(billions, abs=0.01)


def test_multiply_adds_of_a_small_network_are_those_counted_by_hand() -> None:
    cost = count_cost(build_network(network_config("cbr_tiny_w32_same"), 2), 32)
    channels, sides = (3, 32, 64, 128, 256), (32, 16, 8, 4)
    blocks = sum(25 * a * b * side**2 for a, b, side in zip(channels, channels[1:], sides, strict=False))
    assert cost.multiply_adds == blocks + 256 * 2


def test_parameters_are_those_of_trunk_and_head() -> None:
    cost = count_cost(build_network(network_config("dens_t1"), 2), 64)
    assert (cost.trunk, cost.head, cost.parameters) == (377_856, 258, 378_114)


def test_measuring_leaves_network_and_random_numbers_alone() -> None:
    model = build_network(NetworkConfig(backbone="test_resnet", dropout=0.5), 2, seed=0).train()
    before, numbers = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    count_cost(model, 64)
    assert inference_seconds(model, 64, repeats=2) > 0
    assert step_seconds(model, 64, batch=2, repeats=2) > 0
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), numbers)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_step_takes_longer_than_inference_of_the_same_picture() -> None:
    model = build_network(NetworkConfig(backbone="test_resnet"), 2, seed=0)
    assert step_seconds(model, 128, batch=1) > inference_seconds(model, 128, repeats=5)


def test_a_table_of_costs_counts_each_network_and_times_all_in_turn(monkeypatch) -> None:
    calls = []

    def timed(what):
        def seconds(model, side, **how):
            calls.append((what, side, how.get("batch")))
            return float(len(calls))

        return seconds

    monkeypatch.setattr(cost_module, "step_seconds", timed("step"))
    monkeypatch.setattr(cost_module, "inference_seconds", timed("inference"))
    models = {name: build_network(network_config(name), 2) for name in ("dens_t1", "cbr_tiny_w32_same")}
    found = measure_costs(models, 64, batch=5)
    assert calls == [("step", 64, 5), ("inference", 64, None)] * 2 * 3
    counted = [count_cost(model, 64) for model in models.values()]
    # the k-th of four calls a round is call k, k + 4 and k + 8
    assert found == {
        "dens_t1": MeasuredCost(counted[0].parameters, counted[0].multiply_adds, 5.0, 6.0),
        "cbr_tiny_w32_same": MeasuredCost(counted[1].parameters, counted[1].multiply_adds, 7.0, 8.0),
    }
    assert list(found) == list(models)
