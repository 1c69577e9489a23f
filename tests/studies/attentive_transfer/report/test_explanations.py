"""Explanations in the report: images are inside the page, scores only where masks are known."""

import shutil

import pytest

from medtransfer.files import read_json
from medtransfer.reporting.records import recorded_fits
from medtransfer.studies.attentive_transfer.report.explanations import explanation_figures, explanation_tables


@pytest.fixture
def facts(study_folder):
    return read_json(study_folder / "results/explanations/explanations.json")


def test_images_are_inside_the_page(study_folder, facts):
    figures = explanation_figures(study_folder / "results/explanations", facts, [])
    assert [figure.key for figure in figures] == ["figure4", "regions"]
    assert all("data:image/png;base64,iVBOR" in figure.svg for figure in figures)
    assert "In 2 of 300 slices no lungs were detected" in figures[1].caption
    assert figures[1].caption.endswith("No fit of this report recorded this number.")


def test_the_number_that_self_supervised_fits_recorded_is_below_the_regions(study_folder, facts, config, tmp_path):
    copy = shutil.copytree(study_folder, tmp_path / "study")
    events = copy / "records/sstl_m/resnet50_attn5/stl_n-stl_m-sstl_m/seed1/events.jsonl"
    events.write_text(events.read_text().replace('"data/without_lungs": 2', '"data/without_lungs": 5'))
    fits = recorded_fits(copy, config.networks)
    regions = explanation_figures(study_folder / "results/explanations", facts, fits)[1]
    assert regions.caption.endswith("Recorded by the fits that use regions: 2 of 300 in 3 fits, 5 of 300 in 1 fit.")


def test_heat_and_coverage_are_shown_with_flat_maps_counted(facts):
    heat, coverage, _ = explanation_tables(facts)
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


def test_without_masks_the_data_set_has_no_scores(facts):
    unknown = facts | {"scores": None, "regions": facts["regions"] | {"coverage": None}}
    assert [table.key for table in explanation_tables(unknown)] == ["coverage-phantoms"]


def test_coverage_on_phantoms_is_shown_by_pose_and_boxes_for_any_data_set(facts):
    table = explanation_tables(facts)[-1]
    assert [(row[0].main, row[1].main, row[1].detail, row[2].main) for row in table.rows] == [
        ("lies straight", "reference", "", "0.90"),
        ("lies straight", "axial", "used here", "0.90"),
        ("turned by more than 8°", "reference", "", "0.80"),
        ("turned by more than 8°", "axial", "used here", "0.80"),
        ("one lobe collapsed", "reference", "", "0.70"),
        ("one lobe collapsed", "axial", "used here", "0.70"),
    ]
    assert [row[-1].main for row in table.rows] == ["—"] * 6
    assert "40 drawn slices of each kind" in table.intro
