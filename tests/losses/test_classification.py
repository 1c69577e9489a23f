import math

import pytest
import torch
from torch.nn import functional as F

from medtransfer.errors import DataError
from medtransfer.losses.classification import balanced_class_weight, cross_entropy, masked_bce, positive_weight

NAN = float("nan")


def literal_cross_entropy(logits, target, smoothing, weight):
    total = norm = 0.0
    for row, true in zip(logits.tolist(), target.tolist(), strict=True):
        log_sum = math.log(sum(math.exp(value) for value in row))
        for column, value in enumerate(row):
            share = (1 - smoothing) * (column == true) + smoothing / len(row)
            total -= share * weight[column] * (value - log_sum)
        norm += weight[true]
    return total / norm


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weight", [None, [1.0, 0.5, 3.0, 0.0]])
def test_cross_entropy_equals_the_literal_sum(smoothing, weight):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(7, 4, generator=generator, dtype=torch.float64)
    target = torch.tensor([0, 1, 2, 0, 1, 2, 2])
    class_weight = None if weight is None else torch.tensor(weight)
    value = cross_entropy(logits, target, label_smoothing=smoothing, class_weight=class_weight)
    assert float(value) == pytest.approx(
        literal_cross_entropy(logits, target, smoothing, weight or [1.0] * 4), abs=1e-12
    )


def test_half_precision_logits_are_judged_in_single_precision():
    logits = torch.tensor([[20.0, 0.0]], dtype=torch.bfloat16)
    value = cross_entropy(logits, torch.tensor([0]))
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(math.log1p(math.exp(-20)), rel=1e-2, abs=1e-7)


@pytest.mark.parametrize("weight", [None, torch.tensor([[2.0, 0.5, 1.0]]), torch.tensor([[1.0], [3.0]])])
def test_masked_bce_equals_a_loop_over_the_known_targets(weight):
    logits = torch.tensor([[0.3, -1.2, 2.0], [0.0, 5.0, -0.7]], dtype=torch.float64)
    targets = torch.tensor([[1.0, NAN, 0.0], [NAN, 1.0, 0.25]], dtype=torch.float64)
    full = torch.ones(2, 3) if weight is None else weight.expand(2, 3)
    total = norm = 0.0
    for z, y, w in zip(logits.flatten().tolist(), targets.flatten().tolist(), full.flatten().tolist(), strict=True):
        if not math.isnan(y):
            p = 1 / (1 + math.exp(-z))
            total -= w * (y * math.log(p) + (1 - y) * math.log(1 - p))
            norm += w
    assert float(masked_bce(logits, targets, weight)) == pytest.approx(total / norm, abs=1e-12)


def test_unknown_targets_get_no_gradient_and_known_ones_do():
    logits = torch.zeros(2, 2, requires_grad=True)
    masked_bce(logits, torch.tensor([[1.0, NAN], [NAN, 0.0]])).backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.25, 0.0], [0.0, 0.25]]))


def test_a_batch_without_any_known_target_gives_zero_loss_and_zero_gradient():
    logits = torch.randn(3, 2, requires_grad=True)
    loss = masked_bce(logits, torch.full((3, 2), NAN))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert torch.equal(logits.grad, torch.zeros(3, 2))


def test_without_missing_targets_masked_bce_is_plain_bce():
    logits, targets = torch.randn(4, 3), torch.randint(0, 2, (4, 3)).float()
    torch.testing.assert_close(masked_bce(logits, targets), F.binary_cross_entropy_with_logits(logits, targets))


def test_balanced_weights_give_every_class_the_same_share_of_the_loss():
    target = torch.tensor([0] * 6 + [1] * 3 + [2])
    weight = balanced_class_weight(target, 3)
    torch.testing.assert_close(weight, torch.tensor([10 / 18, 10 / 9, 10 / 3]))
    per_class = [float((weight[target] * (target == c)).sum()) for c in range(3)]
    assert per_class == pytest.approx([10 / 3] * 3)


def test_positive_weights_balance_the_known_targets_of_each_finding():
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [NAN, 1.0]])
    torch.testing.assert_close(positive_weight(targets), torch.tensor([2.0, 1 / 3]))


def test_a_class_without_an_image_has_no_weight():
    with pytest.raises(DataError, match="class weights: class number 1 has no image, expected one at least"):
        balanced_class_weight(torch.tensor([0, 2]), 3)
    with pytest.raises(DataError, match="positives of finding number 0 has no image"):
        positive_weight(torch.tensor([[0.0], [NAN]]))
    with pytest.raises(DataError, match="negatives of finding number 0 has no image"):
        positive_weight(torch.tensor([[1.0], [NAN]]))
