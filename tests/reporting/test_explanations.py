"""Explanations in the report: pictures stand inside the page, scores only where masks are known."""

import pytest

from medtransfer.files import read_json
from medtransfer.reporting.explanations import explanation_figures, explanation_tables


@pytest.fixture
def facts(study_folder):
    return read_json(study_folder / "explanations/explanations.json")


def test_pictures_stand_inside_the_page(study_folder, facts):
    figures = explanation_figures(study_folder / "explanations", facts)
    assert [figure.key for figure in figures] == ["figure4", "regions"]
    assert all("data:image/png;base64,iVBOR" in figure.svg and not figure.keyed for figure in figures)
    assert "In 2 of 300 slices no lungs were found" in figures[1].caption


def test_heat_and_coverage_are_laid_out_with_flat_maps_counted(facts):
    heat, coverage = explanation_tables(facts)
    assert [cell.main for cell in heat.rows[1]] == [
        "resnet50 + 5 ATTN",
        "Grad-CAM",
        "lesion",
        "0.300",
        "0.100",
        "3.000",
        "0.500",
        "50",
    ]
    assert heat.rows[1][-1].detail == "3 flat"
    assert [row[0].detail for row in coverage.rows] == ["", "used here"]
    assert [cell.main for cell in coverage.rows[1][1:]] == ["0.92", "0.95", "0.90", "0.90", "—"]


def test_without_masks_there_are_no_scores(facts):
    unknown = facts | {"scores": None, "regions": facts["regions"] | {"coverage": None}}
    assert explanation_tables(unknown) == []
