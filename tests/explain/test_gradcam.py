import copy

import pytest
import torch
import torch.nn.functional as F

from medtransfer.errors import ModelError
from medtransfer.explain.gradcam import grad_cam


def literal_grad_cam(model, image, output):
    """Selvaraju et al. 2017, Eq. 1 and 2, with a hook, a whole backward pass and loops, for one image.

    The score of one of two classes is the log odds of its probability.
    """
    kept = {}

    def keep(_module, _inputs, result):
        result.retain_grad()
        kept["map"] = result

    model = copy.deepcopy(model).eval()
    handle = model.trunk.layer4.register_forward_hook(keep)
    chance = model(image[None]).softmax(1)[0, output]
    torch.log(chance / (1 - chance)).backward()
    handle.remove()
    maps, gradients = kept["map"][0], kept["map"].grad[0]
    channels, rows, columns = maps.shape
    heat = torch.zeros(rows, columns)
    for channel in range(channels):
        weight = sum(gradients[channel].flatten().tolist()) / (rows * columns)
        heat += weight * maps[channel].detach()
    heat = heat.clamp(min=0)
    large = F.interpolate(heat[None, None], image.shape[1:], mode="bilinear", align_corners=False)[0, 0]
    return (large - large.min()) / (large.max() - large.min())


@pytest.mark.parametrize("name", ["plain", "attentive"])
@pytest.mark.parametrize("output", [0, 1])
def test_grad_cam_equals_the_literal_formula(name, output, images, request):
    model = request.getfixturevalue(name)
    found = grad_cam(model, images, output)
    assert found.shape == (3, 96, 64)
    assert (found == 0).any((1, 2)).all(), "this twin needs places without evidence"
    assert (found == 1).any((1, 2)).all(), "this twin needs places with evidence"
    torch.testing.assert_close(found[1], literal_grad_cam(model, images[1], output), rtol=1e-4, atol=1e-4)


def test_under_average_pooling_it_is_the_class_activation_map(plain, images):
    """The gradient of a linear head behind a mean is the head's own weight (Zhou et al. 2016)."""
    with torch.no_grad():
        weight = plain.head.weight[1] - plain.head.weight[0]
        activation = torch.einsum("c,bchw->bhw", weight, plain.feature_map(images)).relu()
    large = F.interpolate(activation[:, None], (96, 64), mode="bilinear", align_corners=False)[:, 0]
    expected = (large - large.amin((1, 2), True)) / (large.amax((1, 2), True) - large.amin((1, 2), True))
    torch.testing.assert_close(grad_cam(plain, images, 1), expected, rtol=1e-4, atol=1e-4)


def test_an_image_does_not_depend_on_its_batch(attentive, images):
    alone, among_others = grad_cam(attentive, images[1:2], 1)[0], grad_cam(attentive, images, 1)[1]
    torch.testing.assert_close(alone, among_others, rtol=0, atol=1e-3)


def test_without_evidence_for_the_class_there_is_no_heat(plain, images):
    model = copy.deepcopy(plain)
    model.head.weight.data[1] = model.head.weight.data[0] - 0.1
    assert not grad_cam(model, images, 1).any()


def test_what_both_logits_share_is_no_evidence(plain, images):
    model = copy.deepcopy(plain)
    model.head.weight.data -= torch.linspace(0, 1, model.head.in_features)
    torch.testing.assert_close(grad_cam(model, images, 1), grad_cam(plain, images, 1), rtol=1e-3, atol=1e-3)


def test_of_three_classes_the_logit_alone_is_explained(plain, images):
    model = copy.deepcopy(plain)
    model.head = torch.nn.Linear(plain.head.in_features, 3)
    with torch.no_grad():
        model.head.weight.normal_(generator=torch.Generator().manual_seed(3))
        activation = torch.einsum("c,bchw->bhw", model.head.weight[2], model.feature_map(images)).relu()
    large = F.interpolate(activation[:, None], (96, 64), mode="bilinear", align_corners=False)[:, 0]
    expected = (large - large.amin((1, 2), True)) / (large.amax((1, 2), True) - large.amin((1, 2), True))
    torch.testing.assert_close(grad_cam(model, images, 2), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(attentive, images, training):
    model = copy.deepcopy(attentive).train(training)
    state = copy.deepcopy(model.state_dict())
    hooks = [len(module._forward_hooks) for module in model.modules()]
    with torch.no_grad():  # a caller's no_grad does not stop it either
        grad_cam(model, images, 0)
    assert all(module.training == training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_narrow_arithmetic_around_it_changes_nothing(plain, images):
    with torch.autocast("cpu", torch.bfloat16):
        narrow = grad_cam(plain, images, 1)
    assert torch.equal(narrow, grad_cam(plain, images, 1))


@pytest.mark.parametrize("output", [-1, 2])
def test_an_output_that_does_not_exist_is_refused(plain, images, output):
    with pytest.raises(
        ModelError, match=f"explanation: output {output} does not exist, the network has 2; take 0 to 1"
    ):
        grad_cam(plain, images, output)
