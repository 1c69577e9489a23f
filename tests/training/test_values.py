"""Learning numbers in units of their own: the exported network gives what the task gives."""

import pytest
import torch

from medtransfer.errors import ModelError
from medtransfer.models.classifier import build_network
from medtransfer.models.networks import network_config
from medtransfer.training.values import HEAD, ValueTask


@pytest.fixture
def task():
    model = build_network(network_config("cbr_tiny_w32_same"), 2, seed=0).eval()
    return ValueTask(model, ("age", "dose"), mean=torch.tensor([60.0, 0.01]), scale=torch.tensor([12.0, 0.002]))


def batch(target):
    return {"image": torch.randn(len(target), 3, 32, 32), "target": torch.tensor(target)}


def test_the_exported_network_answers_in_units_of_the_target(task):
    images = batch([[50.0, 0.01]] * 4)
    with torch.no_grad():
        torch.testing.assert_close(task.exported()(images["image"]), task.outputs(images)[HEAD], rtol=1e-4, atol=1e-4)
    assert task.heads()[HEAD].kind == "value"


def test_both_units_weigh_the_same(task):
    with torch.no_grad():
        off = task.losses(batch([[72.0, 0.01]] * 4))["total"] - task.losses(batch([[60.0, 0.012]] * 4))["total"]
    assert abs(float(off)) < 1


def test_what_is_not_known_adds_nothing(task):
    images = batch([[50.0, float("nan")], [70.0, float("nan")]])
    known = {**images, "target": torch.tensor([[50.0, 0.01], [70.0, 0.01]])}
    loss = task.losses(images)["total"]
    loss.backward()
    assert torch.isfinite(loss)
    assert float(task.module.head.weight.grad[1].abs().sum()) == 0
    assert float(loss) != pytest.approx(float(task.losses(known)["total"]))


def test_a_head_that_reads_the_map_is_refused():
    model = build_network(network_config("resnet10t_pcam"), 1, seed=0)
    with pytest.raises(ModelError, match="no linear head"):
        ValueTask(model, ("age",), mean=torch.zeros(1), scale=torch.ones(1))
