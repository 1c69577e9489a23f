"""Explanations in the report: pictures stand inside the page, scores only where masks are known."""

import shutil

import pytest

from medtransfer.files import read_json
from medtransfer.reporting.explanations import explanation_figures, explanation_tables
from medtransfer.reporting.records import chain_fits


@pytest.fixture
def facts(study_folder):
    return read_json(study_folder / "explanations/explanations.json")


def test_pictures_stand_inside_the_page(study_folder, facts):
    figures = explanation_figures(study_folder / "explanations", facts, [])
    assert [figure.key for figure in figures] == ["figure4", "regions"]
    assert all("data:image/png;base64,iVBOR" in figure.svg and not figure.keyed for figure in figures)
    assert "In 2 of 300 slices no lungs were found" in figures[1].caption
    assert figures[1].caption.endswith("No fit of the report tracked this number.")


def test_the_number_that_self_supervised_fits_tracked_stands_below_the_regions(study_folder, facts, tmp_path):
    copy = shutil.copytree(study_folder / "pretrained", tmp_path / "pretrained").parent
    events = copy / "pretrained/resnet50_attn5-stl_n-stl_m-sstl_m/records/seed1/events.jsonl"
    events.write_text(events.read_text().replace('"data/without_lungs": 2', '"data/without_lungs": 5'))
    fits = chain_fits(copy, ["resnet50_attn0", "resnet50_attn5"])
    regions = explanation_figures(study_folder / "explanations", facts, fits)[1]
    assert regions.caption.endswith("Tracked by the fits that read regions: 2 of 300 in 3 fits, 5 of 300 in 1 fit.")


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
        "3",
    ]
    assert [column.name for column in heat.columns[-2:]] == ["images", "flat maps"]
    assert [row[0].detail for row in coverage.rows] == ["", "used here"]
    assert [cell.main for cell in coverage.rows[1][1:]] == ["0.92", "0.95", "0.90", "0.90", "—"]


def test_without_masks_there_are_no_scores(facts):
    unknown = facts | {"scores": None, "regions": facts["regions"] | {"coverage": None}}
    assert explanation_tables(unknown) == []
