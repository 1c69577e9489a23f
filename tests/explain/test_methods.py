import numpy as np
import torch

from medtransfer.explain.attention_maps import attention_maps
from medtransfer.explain.gradcam import grad_cam
from medtransfer.explain.methods import ATTENTION, GRAD_CAM, LAST_MAP, Method, heat_maps, heat_over, map_sizes
from medtransfer.models.classifier import attention_layers


def test_a_network_is_explained_by_grad_cam_and_by_each_of_its_layers(attentive, images):
    found = heat_maps(attentive, images, 1)
    assert list(found) == [Method(GRAD_CAM, LAST_MAP), *(Method(ATTENTION, s) for s in attention_layers(attentive))]
    assert torch.equal(found[Method(GRAD_CAM, LAST_MAP)], grad_cam(attentive, images, 1))
    assert all(torch.equal(found[Method(ATTENTION, s)], h) for s, h in attention_maps(attentive, images).items())


def test_batches_are_joined_in_order(attentive, images):
    whole, parts = heat_over(attentive, [images], 0), heat_over(attentive, [images[:1], images[1:]], 0)
    assert whole.keys() == parts.keys()
    for method, heat in whole.items():
        assert heat.dtype == np.float32
        np.testing.assert_allclose(parts[method], heat, atol=1e-3)


def test_sizes_are_those_of_the_maps_that_are_read(attentive, plain, images):
    sizes = map_sizes(attentive, images[:1])
    assert sizes.keys() == heat_maps(attentive, images[:1], 0).keys()
    assert list(sizes.values()) == [(3, 2), (12, 8), (12, 8), (6, 4), (6, 4), (3, 2)]
    assert map_sizes(plain, images) == {Method(GRAD_CAM, LAST_MAP): (3, 2)}
