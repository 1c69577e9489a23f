"""Every explainer by name: which networks it fits, and that it leaves the network as it was, whatever happens."""

import pytest
import torch
from torch import nn

from medtransfer.errors import ModelError
from medtransfer.explain.capture import to_unit_heat
from medtransfer.explain.explainers import explain, explainers, fitting
from medtransfer.explain.gradcam import grad_cam, layer_grad_cam
from medtransfer.explain.rollout import attention_rollout, attentions, rolled


class Vit(nn.Module):
    """Two of timm's blocks on a grid of 4 × 4 tokens with a class token."""

    def __init__(self):
        super().__init__()
        from timm.models.vision_transformer import Block

        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.blocks = nn.Sequential(Block(16, 2), Block(16, 2))
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        words = self.patches(x).flatten(2).transpose(1, 2)
        tokens = self.blocks(torch.cat([self.token.expand(len(x), -1, -1), words], 1))
        return self.head(tokens[:, 0])


@pytest.fixture(scope="module")
def vit():
    return Vit()


def state(model):
    """Modes, hooks, gradients, forward functions and fused attention of all modules."""
    return [
        (
            one.training,
            len(one._forward_hooks),
            len(one._forward_pre_hooks),
            getattr(one, "fused_attn", None),
            "forward" in vars(one),
            [(p.grad is None, p.requires_grad) for p in one.parameters(recurse=False)],
        )
        for one in model.modules()
    ]


def test_explainers_that_fit_are_listed(plain, attentive):
    assert fitting(plain) == ("grad_cam", "saliency", "smoothed_saliency")
    assert fitting(attentive) == ("grad_cam", "saliency", "smoothed_saliency", "attention")


@pytest.mark.parametrize("name", ["grad_cam", "saliency", "smoothed_saliency", "attention"])
def test_heat_is_on_0_to_1_and_of_the_size_of_the_images(attentive, images, name):
    heat = explain(name, attentive, images[:1], 0)
    assert heat.shape == (1, 96, 64)
    assert (heat.min(), heat.max()) == (0, 1)


@pytest.mark.parametrize(
    ("name", "problem"), [("attention", "does not fit this network"), ("gradcam", "does not exist")]
)
def test_an_explainer_that_does_not_fit_lists_those_that_do(plain, images, name, problem):
    with pytest.raises(
        ModelError, match=f"'{name}' {problem}; those that fit are grad_cam, saliency, smoothed_saliency"
    ):
        explain(name, plain, images, 0)


@pytest.mark.parametrize("name", [name for name in explainers() if name != "relevance"])
@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_as_before_whatever_happens(attentive, vit, images, name, fails):
    model, view = (vit, images[:1, :, :32, :32]) if name == "attention_rollout" else (attentive, images[:1])
    model.train()
    next(model.modules()).training = True
    before = state(model)
    if fails:
        with pytest.raises(Exception):  # noqa: B017  # whatever the network raises on one channel
            explainers()[name].heat(model, view[:, :1], 0)
    else:
        explainers()[name].heat(model, view, 0)
    assert state(model) == before
    model.eval()


def test_grad_cam_at_the_last_block_is_grad_cam(plain, images):
    torch.testing.assert_close(layer_grad_cam(plain, images, 1, "trunk.layer4"), grad_cam(plain, images, 1))


def test_grad_cam_reads_layers_that_an_activation_in_place_follows(plain, images):
    heat = layer_grad_cam(plain, images, 1, "trunk.layer3.1.bn2")
    assert heat.shape == (3, 96, 64)
    assert plain.eval() is plain


def test_grad_cam_folds_tokens(vit, images):
    assert layer_grad_cam(vit, images[:, :, :32, :32], 0, "blocks.0").shape == (3, 32, 32)


def test_a_layer_without_a_map_and_one_that_does_not_exist_are_named(plain, images):
    with pytest.raises(ModelError, match=r"layer 'head': output of shape \[2\] per image is no map"):
        layer_grad_cam(plain, images, 0, "head")
    with pytest.raises(ModelError, match=r"layer 'trunk.layer5' does not exist; there are, among others, trunk.layer4"):
        layer_grad_cam(plain, images, 0, "trunk.layer5")


def test_rollout_is_the_product_of_the_blocks_attention(vit, images):
    view = images[:, :, :32, :32]
    vit.eval()
    with torch.no_grad(), attentions([block.attn for block in vit.blocks]) as seen:
        vit(view)
    first, second = (one[0].mean(1) for one in seen)
    torch.testing.assert_close(first.sum(-1), torch.ones(3, 17))
    eye = torch.eye(17)
    expected = (second + eye) / 2 @ (first + eye) / 2
    torch.testing.assert_close(rolled([one[0] for one in seen]), expected)
    row = expected[:, 0, 1:].reshape(3, 4, 4)
    torch.testing.assert_close(attention_rollout(vit, view), to_unit_heat(row, (32, 32)))


def test_rollout_of_a_convolutional_network_is_refused(plain, images):
    with pytest.raises(ModelError, match="the network has no transformer"):
        attention_rollout(plain, images)
