import pytest

from medtransfer.reporting.page import render_html, render_markdown


def keys(parts):
    return [part.key for part in parts]


def test_every_figure_of_the_paper_has_its_table_and_its_plot(content):
    tables = {"networks", "claims", "transfer", "cuts", "transfusion", "tests", "kinds", "ties"}
    tables |= {"cost", "rates", "convergence", "similarity", "example", "paper-values"}
    assert set(keys(content.results)) == tables
    figures = ["pareto", "figure3", "figure5", "figure6", "figure7", "figure2", "convergence-curves"]
    assert keys(content.figures) == [*figures, "similarity-depth"]


def test_the_first_table_leads_the_study(content):
    assert content.results[0].key == "networks"


def test_figures_without_a_point_and_tables_without_a_row_are_left_out(build, make_config, predictions):
    config = make_config(variants=("densenet121-random", "cbr_tiny-random"))
    report = build(config=config, predictions=predictions[predictions["variant"].str.contains("random")])
    assert not {"figure3", "figure5", "figure6"} & set(keys(report.figures))
    assert not {"transfer", "cuts", "transfusion", "tests"} & set(keys(report.results))
    assert report.headline[0] == "Nothing to compare by claims (a) and (b) was run."
    assert report.headline[1].startswith("(c) AUPRC separates what AUROC ties: ")
    assert report.headline[2].count("CBR") == 2


def test_months_are_shown_where_the_split_is_by_date(build, dated, datasets):
    assert "windows" not in keys(build().results)
    by_date = {name: meta | {"until": "2020-06-30"} for name, meta in datasets.items()}
    assert "windows" in keys(build(predictions=dated, datasets=by_date).results)


def test_every_fit_trial_and_pretraining_has_its_run(content, config):
    assert len(content.provenance[0].rows) == 1 + len(config.variants) * 2 * (2 + 1)


def test_a_single_seed_is_a_limit(build, make_config, predictions):
    report = build(config=make_config(seeds=(0,)), predictions=predictions[predictions["seed"] == 0])
    assert "With one seed, no interval includes the random variation of training." in report.limits[0]
    assert any("chosen once, with the first seed" in limit for limit in report.limits)


def test_a_champion_is_named_by_network_start_and_setting(build):
    best = {"variant": "densenet121_t1-transfer", "condition": "ct-all-tuned", "seed": 1}
    best |= {
        "model": "covid-cxr",
        "alias": "champion",
        "version": 2,
        "metric": "auprc",
        "value": 0.7,
        "run_key": "none",
    }
    (facts,) = build(champions=[best]).champions
    assert {name: cell.main for name, cell in facts} == {
        "Model": "covid-cxr, version 2 @champion",
        "Network": "Dens-T1",
        "Start": "TL",
        "Setting": "ct · all · tuned",
        "Seed": "1",
        "Validation AUPRC": "0.700",
    }


def test_fits_of_conditions_that_the_study_no_longer_has_are_left_out(build, make_config, predictions, config):
    fewer = predictions[predictions["condition"] == "ct-all-tuned"]
    report = build(config=make_config(regimes={"all": {}}), predictions=fewer)
    assert len(report.provenance[0].rows) == 1 + len(config.variants) * (2 + 1)


def test_the_page_has_no_champion_and_explains_no_term_of_the_other_study(content):
    page = render_html(content)
    assert 'id="champion"' not in page
    assert 'href="#champion"' not in page
    assert '<abbr title="random initialisation' in page
    assert "LogME" not in content.glossary
    assert "## Champion" not in render_markdown(content)


@pytest.mark.parametrize("key", ["networks", "paper-values", "cost"])
def test_markdown_holds_the_tables(content, key):
    table = next(table for table in content.results if table.key == key)
    assert f"### {table.title}" in render_markdown(content)
