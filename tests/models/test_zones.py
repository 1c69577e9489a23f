"""ROI max-pooling against explicit loops, and its gradient."""

import json

import pytest
import torch

from medtransfer.models.zones import EMPTY, OUTSIDE, lung_zones, zone_maxima


@pytest.fixture
def gold(checkout):
    return json.loads((checkout / "tests/golden/roi_maxpool.json").read_text())


def columns(array):
    """Rows of (right, left) as six zones: right upper, middle, lower, then left."""
    return [row[side] for side in (0, 1) for row in array]


@pytest.mark.parametrize(
    ("case", "mask", "lines"),
    [
        ("image", "mask", "image"),
        ("per_lung", "mask", "lung"),
        ("per_lung_missing_left_half", "mask_without_left_half", "lung"),
    ],
)
def test_the_maxima_are_those_of_the_loops(gold, case, mask, lines):
    severity = torch.tensor([gold["severity"]], dtype=torch.float64)
    lungs = torch.tensor([gold[mask]], dtype=torch.bool)
    expected = gold[case]
    pooled = zone_maxima(severity, lungs, empty=0.0, lines=lines)[0]
    assert pooled.tolist() == pytest.approx(columns(expected["array"]), abs=1e-9)
    assert int((pooled >= 0.5).sum()) == expected["score"]
    through_logits = torch.sigmoid(zone_maxima(torch.logit(severity), lungs, empty=EMPTY, lines=lines))[0]
    assert through_logits.tolist() == pytest.approx(pooled.tolist(), abs=1e-12)


def test_lines_are_at_5_12_and_2_3_of_the_height(gold):
    zones = lung_zones(torch.ones(1, 512, 4, dtype=torch.bool), lines="image")[0]
    for side, column in ((0, 0), (1, 3)):
        for level, (top, bottom) in enumerate(gold["cuts_512_image"]):
            assert (zones[top:bottom, column] == level + 3 * side).all()


def test_other_shares_can_be_cut():
    zones = lung_zones(torch.ones(1, 9, 2, dtype=torch.bool), cuts=((1, 3), (2, 3)))
    assert zones[0, :, 0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_each_lung_has_its_own_lines():
    lungs = torch.zeros(2, 24, 6, dtype=torch.bool)
    lungs[0, :12, :3] = lungs[0, 12:, 3:] = lungs[1, 3:15, 1] = True
    zones = lung_zones(lungs)
    assert zones[0, :, 0].tolist() == [0] * 5 + [1] * 3 + [2] * 4 + [OUTSIDE] * 12
    assert zones[0, :, 5].tolist() == [OUTSIDE] * 12 + [3] * 5 + [4] * 3 + [5] * 4
    assert zones[1, :, 1].tolist() == [OUTSIDE] * 3 + [0] * 5 + [1] * 3 + [2] * 4 + [OUTSIDE] * 9
    assert (zones[1, :, 2:] == OUTSIDE).all()


def test_only_the_largest_pixel_of_a_zone_has_a_gradient_and_an_empty_zone_none():
    maps = torch.randn(1, 12, 8, requires_grad=True)
    lungs = torch.ones(1, 12, 8, dtype=torch.bool)
    lungs[:, :, 4:] = False
    pooled = zone_maxima(maps, lungs, empty=EMPTY)
    assert pooled[0, 3:].tolist() == [EMPTY] * 3
    assert torch.sigmoid(pooled[0, 3:].half()).tolist() == [0, 0, 0]
    pooled.sum().backward()
    assert int((maps.grad != 0).sum()) == 3
    assert not maps.grad[:, :, 4:].any()
