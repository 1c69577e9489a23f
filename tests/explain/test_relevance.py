"""Relevance propagation: the golden product, rules that keep sums, and the evidence that a network was given."""

import json

import pytest
import torch

from medtransfer.errors import ModelError
from medtransfer.explain.explainers import explain, fitting
from medtransfer.explain.methods import Method, heat_maps, map_sizes
from medtransfer.explain.relevance import conserved_relevance, relevance_map, rolled_out
from medtransfer.explain.relevance_rules import ratio, through_linear, through_product, through_sum
from medtransfer.explain.sanity import cascade
from medtransfer.explain.transformer_pass import pass_block
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.multitask import MultitaskConfig
from medtransfer.models.tokens import TransformerConfig

CONFIG = MultitaskConfig(
    corpus=NetworkConfig(backbone="test_resnet"),
    side=128,
    transformer=TransformerConfig(width=24, layers=2, heads=3),
    upsizing=(4, 4, 4, 4),
)


@pytest.fixture(scope="module")
def model():
    network = build_network(CONFIG, 9, seed=0).eval()
    with torch.no_grad():  # weights of training's size: at the start attention is almost uniform
        for name, weight in network.head.transformer.named_parameters():
            if name.startswith("blocks") and weight.ndim == 2:
                weight.normal_(std=0.3)
    return network


@pytest.fixture
def images():
    return torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def test_the_product_of_the_blocks_is_the_golden_one(checkout):
    gold = json.loads((checkout / "tests/golden/relevance.json").read_text())
    gradients, relevances = (
        [torch.tensor(block, dtype=torch.float64)[None] for block in gold[key]]
        for key in ("grad_block_head", "relevance_block_head")
    )
    product = rolled_out(gradients, relevances)[0]
    expected = torch.tensor(gold["product_last_times_first"], dtype=torch.float64)
    torch.testing.assert_close(product, expected, rtol=0, atol=1e-9)
    assert product[0, 1:].tolist() == pytest.approx(gold["class_token_row_without_itself"], abs=1e-9)
    with pytest.raises(ModelError, match="no block to roll out"):
        rolled_out([], [])


def test_rules_of_linear_layers_products_and_sums_keep_the_sum():
    draw = torch.Generator().manual_seed(1)

    def normal(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    relevance, x = normal(2, 5, 4), normal(2, 5, 32)  # wide: a result that nothing raises would keep its relevance
    close = {"rtol": 1e-6, "atol": 1e-6}
    by_image = relevance.sum((1, 2))
    torch.testing.assert_close(through_linear(relevance, x, normal(4, 32)).sum((1, 2)), by_image, **close)
    left, right = through_product(relevance, x, normal(2, 32, 4))
    torch.testing.assert_close(left.sum((1, 2)) + right.sum((1, 2)), by_image, **close)
    torch.testing.assert_close(left.sum((1, 2)), by_image / 2, **close)
    first, second = through_sum(relevance, normal(2, 5, 4), normal(2, 5, 4))
    torch.testing.assert_close(first.sum((1, 2)) + second.sum((1, 2)), by_image, **close)
    assert ratio(torch.tensor([3.0, 3.0]), torch.tensor([0.0, -2.0])).tolist() == pytest.approx([0, -1.5])


def test_a_linear_layer_gives_relevance_to_what_raises_its_result_alone():
    weight = torch.tensor([[1.0, -1.0, 2.0]])
    x = torch.tensor([[3.0, 5.0, -4.0]])
    assert through_linear(torch.ones(1, 1), x, weight).tolist() == [pytest.approx([1, 0, 0])]


@pytest.mark.parametrize("conserving", [False, True])
def test_the_steps_end_where_the_block_ends(model, conserving):
    block = model.head.transformer.blocks[0]
    x = torch.randn(2, 17, 24)
    torch.testing.assert_close(pass_block(block, x, conserving=conserving).out, block(x))


def test_without_biases_the_tokens_share_the_logit(images):
    network = build_network(CONFIG, 9, seed=0).eval().double()
    with torch.no_grad():
        for name, weight in network.head.named_parameters():
            if name.endswith("bias"):
                weight.zero_()
            elif name.startswith("transformer.blocks") and weight.ndim == 2:
                weight.normal_(std=0.3)
    logits = network(images.double())["label"]
    for output in range(3):
        relevance = conserved_relevance(network, images.double(), output)
        assert relevance.shape == (2, 17)
        torch.testing.assert_close(relevance.sum(1), logits[:, output].detach(), rtol=1e-4, atol=1e-6)


def test_heat_is_on_unit_scale_for_each_image_alone_and_leaves_no_trace(model, images):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    heat = relevance_map(model, images, 2)
    assert heat.shape == (2, 128, 128)
    assert (heat.amin((1, 2)).tolist(), heat.amax((1, 2)).tolist()) == ([0, 0], [1, 1])
    torch.testing.assert_close(heat[1:], relevance_map(model, images[1:], 2), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(heat, relevance_map(model, images, 0))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


def test_relevance_finds_the_position_that_the_class_token_reads():
    """One block whose values and class head read one feature, which one position has."""
    network = build_network(CONFIG.model_copy(update={"transformer": TransformerConfig(width=6, layers=1, heads=1)}), 9)
    transformer, marked = network.head.transformer, 10
    with torch.no_grad():
        for weight in network.head.parameters():
            weight.zero_()
        transformer.norm.weight.fill_(1)
        for norm in (transformer.blocks[0].norm1, transformer.blocks[0].norm2):
            norm.weight.fill_(1)
        transformer.positions[0, :, 0] = 1  # every token has something, or its norm is undefined
        transformer.positions[0, 1 + marked, 1] = 3
        attn = transformer.blocks[0].attn
        attn.qkv.weight[0, 0] = attn.qkv.weight[6, 1] = 4  # the query asks for feature 1, which is the key
        attn.qkv.weight[13, 1] = attn.proj.weight[1, 1] = 1
        network.head.label.weight[2, 1] = 1
    heat = relevance_map(network.eval(), torch.zeros(1, 3, 128, 128), 2)[0]
    hottest = divmod(int(heat.argmax()), 128)
    assert (hottest[0] // 32, hottest[1] // 32) == divmod(marked, 4)


def test_it_is_one_of_the_methods_of_a_network_with_a_transformer(model, images):
    method = Method("relevance", "transformer")
    heats = heat_maps(model, images, 1)
    assert list(heats) == [Method("grad_cam", "last map"), method]
    assert torch.equal(heats[method], relevance_map(model, images, 1))
    assert map_sizes(model, images)[method] == (4, 4)


def test_networks_and_classes_that_cannot_be_explained_are_refused(model, images):
    plain = build_network(NetworkConfig(backbone="test_resnet"), 2)
    graded = build_network(CONFIG.model_copy(update={"tasks": ("zones",)}), 6)
    for network in (plain, graded):
        with pytest.raises(ModelError, match="no transformer with a class head"):
            relevance_map(network, images, 0)
    with pytest.raises(ModelError, match="class 3 does not exist, the network has 3; take 0 to 2"):
        relevance_map(model, images, 3)
    with pytest.raises(ModelError, match="class -1 does not exist"):
        conserved_relevance(model, images, -1)


def test_a_network_with_two_heads_is_explained_by_every_explainer_that_fits_it(model, images):
    names = ("grad_cam", "saliency", "smoothed_saliency", "attention_rollout", "relevance")
    assert fitting(model) == names
    for name in names:
        heat = explain(name, model, images[:1], 2)
        assert heat.shape == (1, 128, 128)
        assert heat.max() == 1
    assert torch.equal(explain("relevance", model, images, 2), relevance_map(model, images, 2))


def test_the_cascade_of_a_network_with_two_heads_begins_at_the_label(model):
    names = [name for name, _ in cascade(model, seed=0)]
    assert names[0] == "head.label"
