import math

import pytest
import torch

from medtransfer.errors import DataError
from medtransfer.losses.regions import region_accuracy, region_loss, total_loss


def literal(logits, reduction):
    images = []
    for first in range(0, len(logits), 5):
        terms = 0.0
        for region in range(5):
            row = logits[first + region].tolist()
            terms -= math.log(math.exp(row[region]) / sum(map(math.exp, row)))
        images.append(terms)
    return sum(images) / len(images) if reduction == "mean" else sum(images)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("images", [1, 3])
def test_region_loss_sums_five_terms_an_image_and_reduces_over_images(reduction, images):
    logits = torch.randn(5 * images, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert float(region_loss(logits, reduction=reduction)) == pytest.approx(literal(logits, reduction), abs=1e-12)


def test_untrained_logits_cost_five_logarithms_of_five_whatever_the_batch():
    for images in (1, 8):
        assert float(region_loss(torch.zeros(5 * images, 5), reduction="mean")) == pytest.approx(5 * math.log(5))


def test_region_accuracy_counts_rightly_named_crops():
    logits = torch.eye(5).repeat(2, 1)
    logits[0] = logits[1]
    assert float(region_accuracy(logits)) == pytest.approx(0.9)


def test_rows_that_are_not_five_per_image_are_refused():
    with pytest.raises(DataError, match=r"region logits have 7 rows, expected five per image \(ru, rm, rl, lu, ll\)"):
        region_loss(torch.zeros(7, 5), reduction="mean")


def test_total_loss_weighs_both_parts():
    assert float(total_loss(torch.tensor(2.0), torch.tensor(3.0), 0.5, 0.25)) == 1.75
