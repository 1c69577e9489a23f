"""A registered multi-task model through mlflow.pyfunc: lung masks as a further channel, else found, else all ones."""

import numpy as np
import pytest
import torch
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import load_model as load_served

from medtransfer.data.manifest import ZONES
from medtransfer.data.phantom.cxr import CxrConfig, draw_cxr
from medtransfer.data.phantom.scanner import CXR_SCANNERS
from medtransfer.files import read_json
from medtransfer.models.classifier import build_network
from medtransfer.models.lung_fields import lung_fields
from medtransfer.models.weights import save_weights
from medtransfer.tracking import registry
from medtransfer.tracking.serving import prepare
from network_heads import GREY
from network_heads import ZONES_HEADS as HEADS
from network_heads import ZONES_NETWORK as NETWORK
from network_heads import ZONES_SIDE as SIDE

PREPARED = {"size": SIDE, "crop": SIDE, **GREY}
SEVERITIES = [f"severity_{zone}" for zone in ZONES]


@pytest.fixture(scope="module")
def network():
    return build_network(NETWORK, 8, seed=0).eval()


@pytest.fixture(scope="module")
def serve(tmp_path_factory, network):
    def serve(**lungs):
        folder = tmp_path_factory.mktemp("served")
        save_weights(
            network, folder / "w", config=NETWORK, heads=HEADS, preprocessing=PREPARED | lungs, extra={"positive": ""}
        )
        registry._save(folder / "model", folder / "w", read_json(folder / "w/config.json"))
        return load_served(str(folder / "model"))

    return serve


@pytest.fixture(scope="module")
def segmenting(serve):
    return serve(masks="files", segmenter="lung_fields")


@pytest.fixture(scope="module")
def x_rays():
    """One drawn X-ray and one of a single grey level beside it, in which no lung is found."""
    rng = np.random.default_rng
    image = draw_cxr(rng(1), rng(2), "covid", CXR_SCANNERS[0], CxrConfig(size=SIDE)).image
    flat = np.full_like(image, 128)
    flat[0, 0] = 127
    return np.stack([image, flat])[:, None].astype(np.float32)


def with_masks(images, mask):
    return np.concatenate([images, np.broadcast_to(mask, images.shape).astype(np.float32)], axis=1)


def severities(network, images, masks):
    with torch.inference_mode():
        return network(prepare(images.astype(np.uint8), PREPARED), torch.from_numpy(masks))["zones"].sigmoid().numpy()


def test_a_mask_is_a_further_channel_and_decides_the_zones(segmenting, network, x_rays):
    left = np.zeros((SIDE, SIDE), np.float32)
    left[8:56, :32] = 255
    answer = segmenting.predict(with_masks(x_rays, left))
    assert answer["lungs"].tolist() == ["file", "file"]
    assert (answer[SEVERITIES[3:]].to_numpy() == 0).all()
    assert answer["severity_score"].tolist() == (answer[SEVERITIES] >= 0.5).sum(axis=1).tolist()
    expected = severities(network, x_rays, np.repeat(left[None] > 0, 2, axis=0))
    np.testing.assert_allclose(answer[SEVERITIES].to_numpy(), expected, rtol=1e-4)


def test_without_a_mask_the_segmenter_is_asked_and_where_it_finds_none_the_whole_image_is_lung(
    segmenting, network, x_rays
):
    answer = segmenting.predict(x_rays)
    assert answer["lungs"].tolist() == ["segmenter", "whole image"]
    masks = lung_fields(x_rays.astype(np.uint8))
    masks[1] = True
    np.testing.assert_allclose(answer[SEVERITIES].to_numpy(), severities(network, x_rays, masks), rtol=1e-4)


def test_a_model_without_a_segmenter_says_that_the_whole_image_is_lung(serve, x_rays):
    answer = serve(masks="files", segmenter="").predict(x_rays)
    assert answer["lungs"].tolist() == ["whole image"] * 2


def test_a_model_that_was_trained_without_masks_takes_none(serve, x_rays):
    model = serve(masks="none", segmenter="")
    assert model.predict(x_rays)["lungs"].tolist() == ["whole image"] * 2
    with pytest.raises(MlflowException):
        model.predict(with_masks(x_rays, np.ones((SIDE, SIDE))))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (0, "lung mask of image 0 shows no lung"),
        (77, "mask value 77"),
        (0.5, "mask value 0.5"),
        (np.nan, "mask value nan"),
    ],
)
def test_a_mask_without_lung_or_with_odd_values_is_refused(segmenting, x_rays, mask, message):
    with pytest.raises(MlflowException, match=message):
        segmenting.predict(with_masks(x_rays, mask))
