import pytest

from medtransfer.reporting.page import render_html, render_markdown


def keys(parts):
    return [part.key for part in parts]


def test_every_figure_of_the_paper_has_its_table_and_its_plot(content):
    tables = {"networks", "claims", "transfer", "cuts", "transfusion", "tests", "kinds", "ties"}
    tables |= {"cost", "rates", "convergence", "similarity", "example", "stated"}
    assert set(keys(content.results)) == tables
    figures = ["figure2", "figure3", "figure5", "figure6", "figure7", "pareto", "convergence-curves"]
    assert keys(content.figures) == [*figures, "similarity-depth"]


def test_the_first_table_leads_the_study(content):
    assert content.results[0].key == "networks"


def test_figures_without_a_point_are_left_out_and_their_tables_say_why(build, make_config, predictions):
    config = make_config(variants=("densenet121-random", "cbr_tiny-random"))
    found = build(config=config, predictions=predictions[predictions["variant"].str.contains("random")])
    assert not {"figure3", "figure5", "figure6"} & set(keys(found.figures))
    assert next(table for table in found.results if table.key == "transfer").notes
    assert found.headline[0].endswith("(nothing to compare was run).")


def test_months_are_shown_where_the_split_is_by_date(build, dated, datasets):
    assert "windows" not in keys(build().results)
    by_date = {name: meta | {"until": "2020-06-30"} for name, meta in datasets.items()}
    assert "windows" in keys(build(predictions=dated, datasets=by_date).results)


def test_every_fit_trial_and_pretraining_has_its_run(content, config):
    assert len(content.provenance[0].rows) == 1 + len(config.variants) * 2 * (2 + 1)


def test_a_single_seed_is_a_limit(build, make_config, predictions):
    found = build(config=make_config(seeds=(0,)), predictions=predictions[predictions["seed"] == 0])
    assert "With one seed, chance in training is not part of any interval." in found.limits[0]
    assert any("chosen once, with the first seed" in limit for limit in found.limits)


def test_the_page_has_no_champion_and_no_colour_key_of_the_other_study(content):
    page = render_html(content)
    assert 'id="champion"' not in page
    assert 'href="#champion"' not in page
    assert "with ATTN" not in page
    assert "## Champion" not in render_markdown(content)


@pytest.mark.parametrize("key", ["networks", "stated", "cost"])
def test_markdown_holds_the_tables(content, key):
    table = next(table for table in content.results if table.key == key)
    assert f"### {table.title}" in render_markdown(content)
