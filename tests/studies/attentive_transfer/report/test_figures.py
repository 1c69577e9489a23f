import re
from xml.etree import ElementTree

import pytest

from medtransfer.reporting.records import curves, recorded_fits
from medtransfer.studies.attentive_transfer.report.figures import curves_figure, forest_figure, learning_curves

CHAIN = "stl_n-stl_m-sstl_m"
HISTORY = {"loss": ("train/loss",), "auroc": ("val/auroc_covid", "val/macro_auroc")}


@pytest.fixture(scope="module")
def figures(study_results, study_folder):
    history = curves(recorded_fits(study_folder, study_results.config.networks), HISTORY)
    tuned = history[history["phase"] == "finetune"]
    return {
        "forest": forest_figure(study_results),
        "operating": curves_figure(study_results, CHAIN),
        "learning": learning_curves(tuned, "learning", "Learning", "How it learns.", study_results.config.networks),
    }


@pytest.mark.parametrize("name", ["forest", "operating", "learning"])
def test_colours_are_variables_that_follow_light_and_dark(figures, name):
    svg = figures[name].svg
    for variable in ("--ink", "--quiet", "--blue", "--orange"):
        assert f"var({variable})" in svg
    assert not re.search(r"(fill|stroke): #(?!fff)", svg)


@pytest.mark.parametrize("name", ["forest", "operating", "learning"])
def test_a_figure_is_one_element_that_scales(figures, name):
    root = ElementTree.fromstring(figures[name].svg)
    assert root.tag.endswith("svg")
    assert "viewBox" in root.attrib
    assert "width" not in root.attrib


def test_the_forest_has_a_line_for_every_network_and_chain_and_a_panel_for_every_data_set(figures):
    for chain in ("no transfer", "STL-N → STL-M → SSTL-M"):
        for network in ("resnet50", "resnet50 + 5 ATTN"):
            assert f"{chain} · {network}<" in figures["forest"].svg
    for text in ("ct", "far", "with ATTN", "convolution only"):
        assert f">{text}<" in figures["forest"].svg


def test_the_captions_say_what_the_colours_mean_where_no_legend_does(figures):
    for name in ("operating", "learning"):
        assert figures[name].caption.endswith("Blue: networks with ATTN; orange: convolution only.")


def test_every_chain_has_its_panel_of_learning_curves(figures):
    # a line per step: no transfer, STL-N, STL-M, STL-N → STL-M, STL-N → STL-M → SSTL-M
    lines = {"no transfer": 1, "STL-N": 3, "STL-M": 1, "→ STL-M": 2, "→ SSTL-M": 1}
    assert {line: figures["learning"].svg.count(f">{line}<") for line in lines} == lines


def test_a_figure_is_the_same_every_time(study_results, figures):
    assert curves_figure(study_results, CHAIN).svg == figures["operating"].svg
