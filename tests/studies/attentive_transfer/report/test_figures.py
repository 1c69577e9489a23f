import re
from xml.etree import ElementTree

import pytest

from medtransfer.reporting.records import chain_fits, curves
from medtransfer.studies.attentive_transfer.report.figures import forest, learning_curves, operating_curves
from medtransfer.studies.attentive_transfer.report.results import estimates, measure

CHAIN = "stl_n-stl_m-sstl_m"
HISTORY = {"loss": ("train/loss",), "auroc": ("val/auroc_covid", "val/macro_auroc")}


@pytest.fixture(scope="module")
def drawn(predictions, settings, study_folder):
    grid = measure(predictions, settings)
    history = curves(chain_fits(study_folder, settings.networks), HISTORY)
    return {
        "forest": forest(estimates(grid, settings).query("metric == 'auroc'")),
        "operating": operating_curves(grid["ct"], settings.networks, CHAIN),
        "learning": learning_curves(history, "finetuned", "Learning", settings.networks),
    }


@pytest.mark.parametrize("name", ["forest", "operating", "learning"])
def test_colours_are_variables_that_follow_light_and_dark(drawn, name):
    svg = drawn[name].svg
    for variable in ("--ink", "--quiet", "--blue", "--orange"):
        assert f"var({variable})" in svg
    assert not re.search(r"(fill|stroke): #(?!fff)", svg)


@pytest.mark.parametrize("name", ["forest", "operating", "learning"])
def test_a_figure_is_one_element_that_scales(drawn, name):
    root = ElementTree.fromstring(drawn[name].svg)
    assert root.tag.endswith("svg")
    assert "viewBox" in root.attrib
    assert "width" not in root.attrib


def test_the_forest_has_a_line_for_every_network_and_chain(drawn, settings):
    for chain in ("no transfer", "STL-N → STL-M → SSTL-M"):
        for network in ("resnet50", "resnet50 + 5 ATTN"):
            assert f"{chain} · {network}<" in drawn["forest"].svg


def test_every_chain_has_its_panel_of_learning_curves(drawn):
    for title in ("no transfer", "STL-N", "STL-M", "STL-N → STL-M", "STL-N → STL-M → SSTL-M"):
        assert f">{title}<" in drawn["learning"].svg


def test_a_drawing_is_the_same_every_time(predictions, settings, drawn):
    again = operating_curves(measure(predictions, settings)["ct"], settings.networks, CHAIN)
    assert again.svg == drawn["operating"].svg
