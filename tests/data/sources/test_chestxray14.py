import math

import pytest
from pydantic import ValidationError

from medtransfer.data.sources import ChestXray14Source, Skipped
from medtransfer.errors import DataError

HEADER = "Image Index,Finding Labels,Follow-up #,Patient ID,View Position\n"
ENTRIES = HEADER + "1_0.png,Edema|Pleural_Thickening,0,1,AP\n1_1.png,No Finding,1,1,PA\n2_0.png,Mass,0,2,PA\n"


def test_findings_become_ones_and_zeros(tmp_path, write_images, text):
    text("Data_Entry_2017_v2020.csv", ENTRIES)
    write_images("images/1_0.png", "images/1_1.png", "images/2_0.png")
    scan = ChestXray14Source(root=tmp_path).scan()
    first, healthy, _ = scan.rows
    assert {k for k, v in first.items() if k.startswith("y_") and v} == {"y_edema", "y_pleural_thickening"}
    assert sum(key.startswith("y_") for key in first) == 14
    assert not any(value for key, value in healthy.items() if key.startswith("y_"))
    assert (first["patient_id"], first["view"], first["source"]) == ("1", "AP", "nih")
    assert scan.classes == ()
    assert not scan.official_splits


def test_images_are_found_in_numbered_folders_and_official_lists_give_splits(tmp_path, write_images, text):
    text("Data_Entry_2017.csv", ENTRIES)
    text("train_val_list.txt", "1_0.png\n1_1.png")
    text("test_list.txt", "1_1.png\n")
    write_images("images_001/images/1_0.png", "images_012/images/1_1.png", "images_012/images/2_0.png")
    scan = ChestXray14Source(root=tmp_path).scan()
    assert {row["path"]: row["split"] for row in scan.rows} == {
        "images_001/images/1_0.png": "train",
        "images_012/images/1_1.png": "test",
    }
    assert scan.official_splits
    assert scan.known_overlaps.startswith("1 of 1 patients")
    assert scan.skipped == [Skipped("2_0.png", 4, "in neither official list")]
    assert scan.metadata == ("Data_Entry_2017.csv", "train_val_list.txt", "test_list.txt")


def test_absent_images_and_unknown_findings_are_reported_with_their_row(tmp_path, write_images, text):
    text("Data_Entry_2017.csv", ENTRIES + "3_0.png,Flu,0,3,PA\n")
    write_images("images/1_0.png", "images/3_0.png")
    scan = ChestXray14Source(root=tmp_path).scan()
    assert len(scan.rows) == 1
    assert scan.skipped == [
        Skipped("1_1.png", 3, "file is absent"),
        Skipped("2_0.png", 4, "file is absent"),
        Skipped("3_0.png", 5, "unknown finding 'Flu'"),
    ]


def test_a_missing_table_or_column_is_an_error(tmp_path, text):
    with pytest.raises(DataError, match=r"no Data_Entry_2017\*\.csv, expected ChestX-ray14"):
        ChestXray14Source(root=tmp_path).scan()
    text("Data_Entry_2017.csv", "Image Index,Patient ID\n")
    with pytest.raises(DataError, match="column Finding Labels is missing"):
        ChestXray14Source(root=tmp_path).scan()


def test_a_single_label_task_keeps_images_of_exactly_one_class(tmp_path, write_images, text):
    entries = "1_0.png,Pneumonia|Edema,0,1\n1_1.png,No Finding,1,1\n2_0.png,Mass,0,2\n3_0.png,Pneumonia|Mass,0,3\n"
    text("Data_Entry_2017.csv", "Image Index,Finding Labels,Follow-up #,Patient ID\n" + entries)
    write_images(*(f"images/{name}.png" for name in ("1_0", "1_1", "2_0", "3_0")))
    scan = ChestXray14Source(root=tmp_path, classes=("no_finding", "pneumonia")).scan()
    assert [(row["patient_id"], row["label"]) for row in scan.rows] == [
        ("1", "pneumonia"),
        ("1", "no_finding"),
        ("3", "pneumonia"),
    ]
    assert scan.classes == ("no_finding", "pneumonia")
    assert scan.rows[0]["y_edema"] == 1
    assert scan.skipped == [Skipped("2_0.png", 4, "no finding of the task, expected one of no_finding, pneumonia")]
    both = ChestXray14Source(root=tmp_path, classes=("mass", "pneumonia")).scan()
    assert Skipped("3_0.png", 5, "mass and pneumonia, expected one of mass, pneumonia") in both.skipped


def test_a_class_that_is_no_finding_is_refused(tmp_path):
    with pytest.raises(ValidationError, match="classes: 'flu' is no finding; there are no_finding, atelectasis"):
        ChestXray14Source(root=tmp_path, classes=("no_finding", "flu"))


def test_chexperts_findings_are_understood_and_those_without_labels_are_not_known(tmp_path, write_images, text):
    text("Data_Entry_2017.csv", ENTRIES + "3_0.png,Effusion,0,3,PA\n")
    write_images("images/1_0.png", "images/1_1.png", "images/3_0.png")
    findings = ("no_finding", "lung_opacity", "edema", "pleural_effusion", "support_devices")
    scan = ChestXray14Source(root=tmp_path, findings=findings).scan()
    values = [[row[f"y_{name}"] for name in findings] for row in scan.rows]
    known = [[row[0], row[2], row[3]] for row in values]
    assert known == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert all(math.isnan(row[1]) and math.isnan(row[4]) for row in values)
    assert sum(key.startswith("y_") for key in scan.rows[0]) == 5
    with pytest.raises(ValidationError, match="findings: 'edemas' is no finding; there are atelectasis"):
        ChestXray14Source(root=tmp_path, findings=("edemas",))
