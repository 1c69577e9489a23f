import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from medtransfer.models.attention import AttentionLayer

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "nonlocal.json").read_text())


def golden_layer(*, scale: bool) -> AttentionLayer:
    """The golden layer: given projections, and a batch norm that passes values through."""
    layer = AttentionLayer(2, width=2, scale=scale).double().eval()
    convs = {"w_q": layer.query, "w_k": layer.key, "w_v": layer.value, "w_z": layer.project}
    for name, conv in convs.items():
        conv.weight.data = torch.tensor(GOLDEN[name], dtype=torch.float64)[:, :, None, None]
    layer.norm.weight.data.fill_((1 + layer.norm.eps) ** 0.5)
    return layer


def random_layer(channels: int, *, spread: float = 0.5) -> AttentionLayer:
    torch.manual_seed(0)
    layer = AttentionLayer(channels)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=spread)
    return layer


@pytest.mark.parametrize(("case", "scale"), [("unscaled", False), ("scaled_by_rsqrt_dk", True)])
def test_golden_output_attention_and_heat_map(case: str, scale: bool) -> None:
    layer, expected = golden_layer(scale=scale), GOLDEN[case]
    x = torch.tensor([GOLDEN["x"]], dtype=torch.float64)

    def equal(value: torch.Tensor, numbers: list[Any]) -> None:
        torch.testing.assert_close(value, torch.tensor(numbers, dtype=torch.float64), rtol=0, atol=1e-9)

    equal(layer(x)[0], expected["block_output_wz_residual"])
    equal(layer.rows(x, torch.arange(4))[0].T, expected["attention_key_by_query"])
    equal(layer.heat_map(x)[0], expected["heatmap_mean_over_queries"])


@pytest.mark.parametrize("training", [True, False])
def test_a_new_layer_is_the_identity_bit_for_bit(training: bool) -> None:
    x = torch.randn(2, 8, 5, 3)
    assert torch.equal(AttentionLayer(8).train(training)(x), x)


def test_a_new_layer_wakes_up_after_two_steps() -> None:
    torch.manual_seed(0)
    layer = AttentionLayer(8)
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
    target = torch.randn(4, 8, 4, 4)
    before = layer.query.weight.detach().clone()
    for _ in range(2):
        optimiser.zero_grad()
        (layer(torch.randn(4, 8, 4, 4)) - target).square().mean().backward()
        optimiser.step()
    assert layer.gamma_abs > 0
    assert not torch.equal(before, layer.query.weight)


def test_width_is_half_the_channels_and_parameters_match_the_reference_table() -> None:
    for channels, expected in ((512, 526_592), (1024, 2_101_760), (2048, 8_397_824)):
        assert sum(p.numel() for p in AttentionLayer(channels).parameters()) == expected


def test_rows_on_demand_are_rows_of_the_whole_matrix_and_sum_to_one() -> None:
    layer, x = random_layer(6), torch.randn(2, 6, 4, 5)
    everything = layer.rows(x, torch.arange(20))
    torch.testing.assert_close(layer.rows(x, torch.tensor([3, 17])), everything[:, [3, 17]])
    torch.testing.assert_close(everything.sum(-1), torch.ones(2, 20))


def test_heat_map_in_blocks_is_the_mean_over_all_queries() -> None:
    layer, x = random_layer(6), torch.randn(2, 6, 18, 19)
    expected = layer.rows(x, torch.arange(18 * 19)).mean(1).reshape(2, 18, 19)
    torch.testing.assert_close(layer.heat_map(x), expected)


def test_entropy_is_one_for_uniform_attention_and_near_zero_for_one_winner() -> None:
    uniform, x = AttentionLayer(4), torch.randn(2, 4, 6, 6)
    torch.nn.init.zeros_(uniform.query.weight)
    assert uniform.entropy(x) == pytest.approx(1.0, abs=1e-6)
    assert random_layer(4, spread=50.0).entropy(x * 10) < 0.05
    assert uniform.entropy(x[:, :, :1, :1]) == 1.0


def test_entropy_agrees_with_its_definition() -> None:
    layer, x = random_layer(4), torch.randn(3, 4, 5, 4)
    rows = layer.rows(x, torch.arange(20)).detach().double()
    expected = float(-(rows * rows.log()).sum(-1).mean() / math.log(20))
    assert layer.entropy(x) == pytest.approx(expected, rel=1e-5)


def test_an_inactive_layer_passes_its_map_through() -> None:
    layer, x = random_layer(6), torch.randn(2, 6, 4, 4)
    assert not torch.equal(layer(x), x)
    layer.active = False
    assert layer(x) is x


def test_channels_last_maps_give_equal_values_and_stay_channels_last() -> None:
    layer, x = random_layer(8).eval(), torch.randn(2, 8, 6, 5)
    out = copy.deepcopy(layer).to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, layer(x), rtol=1e-4, atol=1e-4)
