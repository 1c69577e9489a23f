import torch

from medtransfer.explain.gradcam import grad_cam
from medtransfer.explain.sanity import cascade, weight_randomisation


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
    constant = weight_randomisation(plain, lambda network: images.abs().mean(1), every=20)
    assert {round(value, 6) for _, value in constant} == {1}
    found = weight_randomisation(plain, lambda network: grad_cam(network, images, 0), every=20)
    assert abs(found[-1][1]) < 0.7
