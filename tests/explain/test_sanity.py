import numpy as np
import pytest
import torch

from medtransfer.explain.gradcam import grad_cam
from medtransfer.explain.sanity import cascade, likeness, weight_randomisation


def test_the_cascade_goes_from_the_output_down_and_leaves_the_network_alone(plain):
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    names, changed = [], None
    for name, network in cascade(plain, seed=0):
        names.append(name)
        if len(names) == 1:
            assert not torch.equal(network.head.weight, plain.head.weight)
            assert torch.equal(network.trunk.conv1.weight, plain.trunk.conv1.weight)
            assert torch.equal(network.head.weight.flatten().sort()[0], plain.head.weight.flatten().sort()[0])
        changed = network
    assert names[0] == "head"
    assert names[-1] == "trunk.conv1"
    assert not torch.equal(changed.trunk.conv1.weight, plain.trunk.conv1.weight)
    assert all(torch.equal(value, before[name]) for name, value in plain.state_dict().items())


def test_a_map_that_ignores_the_network_fails_and_grad_cam_does_not(plain, images):
    def heats(network):
        return {"edges": images.abs().mean(1).numpy(), "grad_cam": grad_cam(network, images, 0).numpy()}

    found = weight_randomisation(plain, heats, shares=(0.0, 1.0))
    assert [layer for layer, _ in found["edges"]] == ["head", "trunk.conv1"]
    assert {round(value, 6) for _, value in found["edges"]} == {1}
    assert abs(found["grad_cam"][-1][1]) < 0.7  # of few cells


def test_maps_that_are_flat_or_not_finite_are_like_nothing():
    heat = np.random.default_rng(0).random((2, 4, 4))
    assert likeness(heat, heat) == pytest.approx(1)
    broken = heat.copy()
    broken[0, 0, 0], broken[1] = np.nan, 1
    assert likeness(heat, broken) == 0


def test_the_layer_next_to_the_output_is_the_first_of_the_cascade(attentive):
    names = [name for name, _ in cascade(attentive, seed=0)]
    assert names[0] == "head"
    assert names[1].startswith("attention.")
    assert names[-1] == "trunk.conv1"
