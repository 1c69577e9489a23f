import copy

import pytest
import torch
from torch import nn

from medtransfer.ssl.groups import GroupedBatchNorm, KeptStatistics, crossed_order


@pytest.mark.parametrize(("batch", "groups"), [(8, 1), (8, 4), (7, 3)])
def test_one_grouped_pass_equals_one_pass_a_group_in_value_and_gradient(encoder, batch, groups):
    x = torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    twin = copy.deepcopy(encoder)
    with GroupedBatchNorm(groups):
        together = encoder.features(x)
    one_by_one = torch.cat([twin.features(part) for part in x.tensor_split(groups)])
    torch.testing.assert_close(together, one_by_one)
    together.square().sum().backward()
    one_by_one.square().sum().backward()
    torch.testing.assert_close(encoder.net[0].weight.grad, twin.net[0].weight.grad)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("affine", [True, False])
def test_every_gradient_of_a_grouped_layer_is_that_of_its_parts(precision, layout, affine):
    norm = nn.BatchNorm2d(5, affine=affine)
    generator = torch.Generator().manual_seed(0)
    x, weights = (torch.randn(7, 5, 3, 2, generator=generator).to(precision).to(memory_format=layout) for _ in range(2))
    x.requires_grad_()
    wanted = [x, *norm.parameters()]
    with GroupedBatchNorm(3):
        together = norm(x)
    parts = torch.cat([norm(part) for part in x.tensor_split(3)])
    assert together.dtype == precision
    assert torch.equal(together, parts)
    torch.testing.assert_close(
        torch.autograd.grad((together * weights).sum(), wanted), torch.autograd.grad((parts * weights).sum(), wanted)
    )


def test_running_statistics_move_as_far_as_in_one_ordinary_pass():
    norm, plain = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    x = torch.tensor([[1.0, -4.0]]).expand(8, 2)
    with GroupedBatchNorm(4):
        norm(x)
    plain(x)
    torch.testing.assert_close(norm.running_mean, plain.running_mean)
    torch.testing.assert_close(norm.running_var, plain.running_var)


def test_kept_statistics_stay_and_the_output_is_that_of_the_batch(encoder):
    x = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    mean, var = encoder.net[1].running_mean.clone(), encoder.net[1].running_var.clone()
    with KeptStatistics():
        kept = encoder.features(x)
    assert torch.equal(encoder.net[1].running_mean, mean)
    assert torch.equal(encoder.net[1].running_var, var)
    assert torch.equal(kept, encoder.features(x))
    assert not torch.equal(encoder.net[1].running_mean, mean)


@pytest.mark.parametrize("mode", [GroupedBatchNorm(3), KeptStatistics()])
def test_evaluation_is_untouched(mode, encoder):
    encoder.eval()
    x = torch.randn(6, 3, 8, 8)
    with mode:
        features = encoder.features(x)
    assert torch.equal(features, encoder.features(x))


@pytest.mark.parametrize(("batch", "groups"), [(4, 2), (9, 3), (32, 6), (64, 8), (50, 8), (256, 16)])
def test_no_two_images_meet_in_both_orders(batch, groups):
    order = crossed_order(batch, groups)
    assert order.sort().values.tolist() == list(range(batch))
    queries, keys = torch.arange(batch).tensor_split(groups), order.tensor_split(groups)
    assert min(map(len, keys)) >= 2
    assert max(len(set(a.tolist()) & set(b.tolist())) for a in queries for b in keys) == 1
