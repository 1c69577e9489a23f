import pytest

from medtransfer.reporting.formatting import lookup
from medtransfer.studies.truncated_transfer.report.balance import balance_note, noted_figures, noted_tables
from medtransfer.studies.truncated_transfer.report.results import mean_trapezoid, results
from medtransfer.studies.truncated_transfer.report.windows import windows_table


@pytest.fixture(scope="module")
def rare(make_config):
    return make_config(regimes={"all": {}, "tenth": {"neg_pos_ratio": {"train": 4, "test": 16}}})


def test_a_report_names_the_balance_that_a_regime_sets(build, rare):
    content = build(config=rare)
    tables = {table.key: table for table in content.results}
    note = "AUPRC of the regime tenth at 1 : 16, by weighting: all test images are used"
    for key in ("networks", "claims", "transfer", "cuts", "tests", "ties", "cost"):
        assert tables[key].notes[-1].startswith(note)
    assert not any(note in note for note in tables["convergence"].notes)
    captions = {figure.key: figure.caption for figure in content.figures}
    assert note in captions["figure7"]
    assert note not in captions["figure2"]
    assert any(
        "AUPRC 0.059, the share of positives at 1 : 16, by weighting." in note for note in tables["networks"].notes
    )


def test_auprc_changes_with_the_balance_and_auroc_does_not(predictions, study_results, rare, evaluation):
    conditions = [condition.name for condition in study_results.config.conditions()]
    before, after = (
        lookup(f.rows(), "variant", "condition", "metric")
        for f in (study_results, results(predictions, rare, evaluation))
    )
    variant = rare.variants[1]
    assert before[variant, conditions[0], "auprc"] == after[variant, conditions[0], "auprc"]
    assert after[variant, conditions[1], "auprc"]["mean"] < before[variant, conditions[1], "auprc"]["mean"] - 0.1
    for name in ("mean", "low", "high"):
        assert after[variant, conditions[1], "auroc"][name] == pytest.approx(
            before[variant, conditions[1], "auroc"][name]
        )


def test_the_trapezoid_is_at_the_same_balance(predictions, rare, evaluation):
    cell = results(predictions, rare, evaluation).cells[rare.variants[1], rare.conditions()[1].name]
    assert mean_trapezoid(cell)[0] == pytest.approx(cell.samples["auprc"].points.mean(), abs=0.03)


def test_a_month_shows_the_share_of_positives_at_which_its_auprc_is_computed(dated, rare, evaluation):
    table = windows_table(dated, results(dated, rare, evaluation), {"ct": {"until": "2020-06-30"}})
    assert {row[5].main for row in table.rows if "tenth" in row[0].main} == {"0.059"}


def test_nothing_is_noted_where_no_regime_sets_a_balance(config, content):
    assert balance_note(config) == ""
    assert noted_tables(content.results, "") == content.results
    assert noted_figures(content.figures, "") == content.figures
