import copy
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from medtransfer.explain.attention_maps import attention_maps, inputs_of_layers
from medtransfer.models.attention import AttentionLayer
from medtransfer.models.classifier import Classifier, attention_layers

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "nonlocal.json").read_text())


class OneLayer(Classifier):
    """Nothing but the golden ATTN layer."""

    def __init__(self):
        nn.Module.__init__(self)
        layer = AttentionLayer(2, width=2)
        for conv, name in ((layer.query, "w_q"), (layer.key, "w_k")):
            conv.weight.data = torch.tensor(GOLDEN[name])[:, :, None, None]
        self.attention = nn.ModuleDict({"only": layer})
        self.attention_sites = ("only",)

    def feature_map(self, x):
        return self.attention["only"](x[:, :2])


def literal_attention(layer, maps):
    """``heat[k] = mean_q A[q, k]`` for one map ``[C, h, w]``, one query at a time."""
    _, rows, columns = maps.shape
    tokens = [maps[:, y, x] for y in range(rows) for x in range(columns)]
    query, key = (conv.weight[:, :, 0, 0] for conv in (layer.query, layer.key))
    heat = torch.zeros(len(tokens))
    for q in tokens:
        logits = torch.stack([(query @ q + layer.query.bias) @ (key @ k + layer.key.bias) for k in tokens])
        heat += torch.softmax(logits, 0) / len(tokens)
    return heat.view(rows, columns)


def test_golden_heat_map_is_shown_from_its_least_to_its_largest_value():
    x = torch.zeros(1, 3, 2, 2)
    x[0, :2] = torch.tensor(GOLDEN["x"])
    expected = torch.tensor(GOLDEN["unscaled"]["heatmap_mean_over_queries"])
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    torch.testing.assert_close(attention_maps(OneLayer(), x)["only"][0], expected, rtol=0, atol=1e-6)


def test_every_layer_gives_the_literal_mean_over_queries(attentive, images):
    images = images[:1]
    found, entered = attention_maps(attentive, images), inputs_of_layers(attentive, images)
    assert list(found) == list(attention_layers(attentive))
    for site, layer in list(attention_layers(attentive).items())[2:]:  # the first two have too many queries for a loop
        with torch.no_grad():
            heat = torch.stack([literal_attention(layer, maps) for maps in entered[site]])
        large = F.interpolate(heat[:, None], (96, 64), mode="bilinear", align_corners=False)[:, 0]
        expected = (large - large.amin((1, 2), True)) / (large.amax((1, 2), True) - large.amin((1, 2), True))
        torch.testing.assert_close(found[site], expected, rtol=1e-3, atol=1e-3)


def test_a_layer_sees_what_the_earlier_layers_have_refined(attentive, images):
    entered = inputs_of_layers(attentive, images)
    other = copy.deepcopy(attentive)
    first, *later = attention_layers(other)
    attention_layers(other)[first].active = False
    changed = inputs_of_layers(other, images)
    assert torch.equal(changed[first], entered[first])
    assert all(not torch.equal(changed[site], entered[site]) for site in later)


def test_the_network_is_left_as_it_was(attentive, images):
    model = copy.deepcopy(attentive).train()
    state = copy.deepcopy(model.state_dict())
    attention_maps(model, images)
    assert all(module.training for module in model.modules())
    assert not any(layer._forward_pre_hooks for layer in attention_layers(model).values())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_layer_that_attends_to_all_places_alike_points_nowhere(attentive, images):
    model = copy.deepcopy(attentive)
    for layer in attention_layers(model).values():
        nn.init.zeros_(layer.key.weight)
    assert not any(heat.any() for heat in attention_maps(model, images).values())


def test_a_plain_network_has_none(plain, images):
    assert attention_maps(plain, images) == {}
