import pytest

from medtransfer.studies.attentive_transfer.paper.margins import covidx_images, text_margins


def margin(section, chain, metric, *networks):
    rows = text_margins().query("section == @section and chain == @chain and metric == @metric")
    return rows[[row == networks for row in rows["networks"]]].iloc[0]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        # 93.1 − 88.2 and 93.4 − 89.3
        (("6.3", "stl_n-stl_m-sstl_m", "accuracy", "resnet50_attn1", "resnet101_attn1"), (0.049 + 0.041) / 2),
        # 89.3 − 89.1, 93.4 − 92.6 and 94.2 − 93.1
        (
            (
                "6.4",
                "stl_n-stl_m-simclr",
                "accuracy",
                "resnet101_attn0",
                "resnet101_attn1",
                "resnet101_attn5",
            ),
            (0.002 + 0.008 + 0.011) / 3,
        ),
        # (92.9 − 85.7) − (90.3 − 84.6)
        (("6.5", "stl_n-stl_m-sstl_m", "auroc", "resnet50_attn1"), 0.072 - 0.057),
        # (91.2 − 86.9) − (87.7 − 84.6)
        (("6.6", "none-stl_m", "auroc", "resnet50_attn5"), 0.043 - 0.031),
    ],
)
def test_a_margin_is_computed_from_the_tables(cell, expected):
    assert margin(*cell)["difference"] == pytest.approx(expected, abs=1e-6)


def test_six_margins_of_the_text_disagree_with_the_tables():
    rows = text_margins()
    misprints = rows[(rows["value"] - rows["difference"]).abs() > 0.000501]
    assert len(rows) == 30
    assert [(row.section, row.value, round(row.difference, 3)) for row in misprints.itertuples()] == [
        ("6.4", 0.006, 0.007),
        ("6.5", 0.027, 0.037),
        ("6.5", 0.037, 0.047),
        ("6.5", 0.025, 0.015),
        ("6.6", 0.035, 0.033),
        ("6.6", 0.013, 0.012),
    ]


def test_the_printed_classes_of_covidx_do_not_add_up():
    images = dict(covidx_images())
    assert (images.pop("total"), sum(images.values())) == (16898, 14198)
