"""CheXpert: labels under every policy, views, splits, headers and paths as they occur."""

import math

import pytest
from pydantic import ValidationError

from medtransfer.data.manifest import build_manifest
from medtransfer.data.sources import ChexpertSource, Skipped
from medtransfer.data.sources.chexpert import FINDINGS
from medtransfer.errors import DataError

HEADER = ",".join(("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS))
SMALL = "CheXpert-v1.0-small"


def line(place, view="Frontal,AP", **labels):
    return f"{place},Male,60,{view}," + ",".join(labels.get(name.replace(" ", "_"), "") for name in FINDINGS)


def table(*lines, header=HEADER):
    return "\n".join((header, *lines)) + "\n"


FIRST = "train/patient00001/study1/view1_frontal.jpg"
SECOND = "train/patient00001/study2/view1_lateral.jpg"
VALID = "valid/patient64541/study1/view1_frontal.jpg"


@pytest.fixture
def small(write_images, text):
    """Three images; the first has an uncertain edema, an uncertain pneumonia, a present and an absent finding."""
    labels = {"Edema": "-1.0", "Pneumonia": "-1.0", "Fracture": "1.0", "Cardiomegaly": "0.0"}
    text(
        "train.csv", table(line(f"{SMALL}/{FIRST}", **labels), line(f"{SMALL}/{SECOND}", "Lateral,", No_Finding="1.0"))
    )
    text("valid.csv", table(line(f"{SMALL}/{VALID}", "Frontal,PA", Edema="1.0")))
    write_images(FIRST, SECOND, VALID)


def labels_of(root, **options):
    row = ChexpertSource(root=root, **options).scan().rows[0]
    return tuple(row[f"y_{name}"] for name in ("edema", "pneumonia", "fracture", "cardiomegaly", "mass")[:4])


@pytest.mark.parametrize(
    ("policy", "edema", "pneumonia"), [("zeros", 0, 0), ("ones", 1, 1), ("mixed", 1, 0), ("ignore", None, None)]
)
def test_an_uncertain_label_follows_the_policy_and_certain_ones_do_not(tmp_path, small, policy, edema, pneumonia):
    found = labels_of(tmp_path, uncertain=policy)
    assert found[2:] == (1, 0)
    if edema is None:
        assert all(math.isnan(value) for value in found[:2])
    else:
        assert found[:2] == (edema, pneumonia)


def test_patients_views_and_splits_are_read_off_path_and_columns(tmp_path, small):
    scan = ChexpertSource(root=tmp_path).scan()
    assert [(r["path"], r["patient_id"], r["view"], r["split"]) for r in scan.rows] == [
        (FIRST, "patient00001", "AP", "train"),
        (SECOND, "patient00001", "lateral", "train"),
        (VALID, "patient64541", "PA", "test"),
    ]
    assert scan.official_splits
    assert not scan.known_overlaps
    assert scan.classes == ()
    assert scan.metadata == ("train.csv", "valid.csv")
    assert scan.rows[1]["y_no_finding"] == 1
    build_manifest([row | {"dataset": "chexpert"} for row in scan.rows])


def test_all_fourteen_labels_are_findings(tmp_path, small):
    row = ChexpertSource(root=tmp_path).scan().rows[0]
    columns = [key for key in row if key.startswith("y_")]
    assert columns == [f"y_{name.lower().replace(' ', '_')}" for name in FINDINGS]
    assert {"y_enlarged_cardiomediastinum", "y_pleural_effusion", "y_support_devices"} <= set(columns)


def test_blanks_are_zeros_or_missing(tmp_path, small):
    assert ChexpertSource(root=tmp_path).scan().rows[0]["y_lung_lesion"] == 0
    assert math.isnan(ChexpertSource(root=tmp_path, blank="missing").scan().rows[0]["y_lung_lesion"])


def test_a_view_filter_reports_what_it_leaves_out(tmp_path, small):
    scan = ChexpertSource(root=tmp_path, views=("AP", "PA")).scan()
    assert [row["path"] for row in scan.rows] == [FIRST, VALID]
    assert scan.skipped == [Skipped(SECOND, 3, "view lateral is not one of AP, PA")]


def test_one_table_alone_leaves_the_splits_to_be_drawn(tmp_path, write_images, text):
    text("train.csv", table(line(FIRST, No_Finding="1.0")))
    write_images(FIRST)
    scan = ChexpertSource(root=tmp_path).scan()
    assert (scan.rows[0]["split"], scan.official_splits) == ("", False)


def test_underscores_in_the_header_and_paths_below_the_prefix_are_read(tmp_path, write_images, text):
    place = f"CheXpert-v1.0/{FIRST}"
    text("train.csv", table(line(place, Pleural_Effusion="1"), header=HEADER.replace(" ", "_")))
    write_images(place)
    row = ChexpertSource(root=tmp_path).scan().rows[0]
    assert (row["path"], row["patient_id"], row["y_pleural_effusion"]) == (place, "patient00001", 1)


@pytest.mark.parametrize("blank", ["zero", "missing"])
def test_a_table_of_blank_labels_is_refused(tmp_path, write_images, text, blank):
    text("train.csv", table(line(FIRST), line(SECOND)))
    write_images(FIRST, SECOND)
    with pytest.raises(DataError, match=r"train\.csv: every label of all 2 rows is blank, expected 1, 0 or -1 in some"):
        ChexpertSource(root=tmp_path, blank=blank).scan()


def test_other_cells_paths_and_headers_are_refused_or_reported(tmp_path, write_images, text):
    with pytest.raises(DataError, match=r"no train\.csv or valid\.csv, expected CheXpert"):
        ChexpertSource(root=tmp_path).scan()
    text("train.csv", table(header=HEADER))
    with pytest.raises(DataError, match="column Path is missing or has no rows"):
        ChexpertSource(root=tmp_path).scan()
    text("train.csv", table(line(FIRST), header=HEADER.replace("Fracture", "Fractured")))
    with pytest.raises(DataError, match="column Fracture is missing"):
        ChexpertSource(root=tmp_path).scan()
    write_images(FIRST)
    text("train.csv", table(line(FIRST, Edema="0"), line("somewhere/else.jpg")))
    assert ChexpertSource(root=tmp_path).scan().skipped == [
        Skipped("somewhere/else.jpg", 3, "path names no patient and study")
    ]
    text("train.csv", table(line(FIRST, Edema="2")))
    with pytest.raises(DataError, match=r"train\.csv row 2, column Edema: '2', expected 1, 0, -1 or nothing"):
        ChexpertSource(root=tmp_path).scan()


def test_findings_can_be_chosen_and_ordered(tmp_path, small):
    row = ChexpertSource(root=tmp_path, findings=("support_devices", "edema")).scan().rows[0]
    assert [key for key in row if key.startswith("y_")] == ["y_support_devices", "y_edema"]
    with pytest.raises(ValidationError, match="'flu' is none of CheXpert's; there are no_finding"):
        ChexpertSource(root=tmp_path, findings=("flu",))
