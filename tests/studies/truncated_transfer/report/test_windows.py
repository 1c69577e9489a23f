import datetime

import pytest

from medtransfer.evaluation.binary import auroc
from medtransfer.studies.truncated_transfer.report.results import results
from medtransfer.studies.truncated_transfer.report.windows import windows_table

DAY = {"ct": {"until": datetime.date(2020, 6, 30)}}


@pytest.fixture(scope="module")
def table(dated, config, evaluation):
    return windows_table(dated, results(dated, config, evaluation), DAY)


def test_nothing_is_shown_where_no_split_is_by_date(dated, config, evaluation):
    assert windows_table(dated, results(dated, config, evaluation), {"ct": {"until": None}}) is None


def test_every_variant_is_in_every_month_of_every_setting(table, config):
    names = [(row[0].main, row[1].main, row[2].main, row[3].main) for row in table.rows]
    assert len(names) == len(set(names)) == 2 * 2 * len(config.variants)
    assert {name[1] for name in names} == {"2020-07", "2020-08"}
    assert [name[0] for name in names] == sorted(name[0] for name in names)
    assert "ct: 2020-06-30" in table.intro


def test_a_window_has_only_its_own_images(table, dated, config):
    variant, condition = config.variants[1], config.conditions()[0]
    rows = dated[
        (dated["variant"] == variant) & (dated["condition"] == condition.name) & (dated["date"] < "2020-08-01")
    ]
    points = [auroc(part["target"], part["score"]) for _, part in rows.groupby("seed")]
    row = next(
        row for row in table.rows if [c.main for c in row[:4]] == ["ct · all · tuned", "2020-07", "DenseNet-121", "TL"]
    )
    assert row[4].main == "80"
    assert row[5].main == f"{rows['target'].mean():.3f}"
    assert row[6].main.startswith(f"{sum(points) / 2:.3f} ±")


@pytest.mark.filterwarnings("ignore::medtransfer.evaluation.checks.UndefinedMetricWarning")
def test_a_month_of_one_class_has_dashes(dated, config, evaluation):
    july = dated["date"] < "2020-08-01"
    table = windows_table(dated.assign(target=dated["target"].mask(july, 1.0)), results(dated, config, evaluation), DAY)
    row = next(row for row in table.rows if row[1].main == "2020-07")
    assert row[6].main.startswith("—")
