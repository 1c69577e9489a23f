"""The numbers of the text agree with each other where they can be checked."""

from math import floor

import pytest

from medtransfer.studies.truncated_transfer.paper.values import network_title, paper_values


@pytest.fixture
def number():
    table = paper_values().set_index(["group", "item"])["value"]
    return lambda group, item: float(table[group, item])


def test_the_splits_of_the_covid_set_add_up(number):
    for side, total in (("pos", "positives"), ("neg", "negatives")):
        parts = [number("covid", f"{split}_{side}") for split in ("train", "val", "test")]
        assert sum(parts) == number("covid", total)


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_printed_imbalance_is_that_of_the_counts(number, split):
    ratio = number("covid", f"{split}_neg") / number("covid", f"{split}_pos")
    assert ratio == pytest.approx(number("covid", f"{split}_ratio"), abs=0.05)


@pytest.mark.parametrize(("group", "share"), [("covid_5pct", 0.05), ("covid_10pct", 0.1)])
def test_the_small_sets_are_floors_of_each_class(number, group, share):
    parts = {side: floor(share * number("covid", f"train_{side}")) for side in ("pos", "neg")}
    assert parts == {side: number(group, side) for side in parts}
    assert sum(parts.values()) == number(group, "total")


def test_the_chexpert_split_is_72_8_20(number):
    counts = [number("chexpert", split) for split in ("train", "val", "test")]
    assert [count / sum(counts) for count in counts] == pytest.approx([0.72, 0.08, 0.2], abs=1e-3)


@pytest.mark.parametrize(
    ("network", "title"),
    [
        ("densenet121_t1", "Dens-T1"),
        ("dens_s3", "Dens-S3"),
        ("res_t5", "Res-T5"),
        ("resnet50", "ResNet-50"),
        ("cbr_tiny_w32_same", "CBR-Tiny of width 32, padded"),
        ("densenet121_to_features.denseblock1", "densenet121_to_features.denseblock1"),
        ("densenet169_s1", "densenet169_s1"),
        ("some_same", "some_same"),
    ],
)
def test_networks_have_the_papers_name_if_it_has_one(network, title):
    assert network_title(network) == title
