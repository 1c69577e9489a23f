import math
from datetime import datetime

import numpy as np
import pytest
from PIL import Image

from medtransfer.data.sources import CsvSource, Skipped
from medtransfer.errors import DataError


def test_only_the_image_column_is_needed(tmp_path, write_images, text):
    text("labels.csv", "image\nx/a.png\n")
    write_images("x/a.png")
    scan = CsvSource(root=tmp_path).scan()
    expected = {"image_id": "x/a.png", "patient_id": "x/a.png", "path": "x/a.png", "label": "", "split": ""}
    assert scan.rows == [expected | {"modality": "CXR"}]
    assert (scan.classes, scan.official_splits) == ((), False)


@pytest.mark.parametrize(("second", "patients"), [("p2", "known"), ("", "each_image")])
def test_patients_are_known_where_every_row_names_one(tmp_path, write_images, text, second, patients):
    text("labels.csv", f"image,patient_id\na.png,p1\nb.png,{second}\n")
    write_images("a.png", "b.png")
    assert CsvSource(root=tmp_path).scan().patients == patients


def test_every_column_of_the_layout_arrives(tmp_path, write_images, text):
    zones = ",".join(f"zone_{i}" for i in range(6))
    text(
        "t.csv",
        f"\ufeffimage,patient_id,label,split,source,view,date,mask,modality,y_edema,y_mass,{zones}\n"
        "a.png,p 1,covid,train,east,PA,2020-03-04,m.png,CT,1,,0,1,2,3,,1.5\n"
        "b.png,,,,,,,,,0,1,,,,,,\n",
    )
    write_images("a.png", "b.png", "m.png")
    scan = CsvSource(root=tmp_path, table="t.csv").scan()
    full, sparse = scan.rows
    assert (full["patient_id"], full["label"], full["split"], full["source"]) == ("p 1", "covid", "train", "east")
    assert (full["view"], full["date"], full["mask"], full["modality"]) == ("PA", datetime(2020, 3, 4), "m.png", "CT")
    assert full["y_edema"] == 1
    assert math.isnan(full["y_mass"])
    assert [full[f"zone_{i}"] for i in (0, 3, 5)] == [0, 3, 1.5]
    assert "zone_4" not in full
    assert (sparse["patient_id"], sparse["modality"], sparse["y_edema"]) == ("b.png", "CXR", 0)
    assert scan.official_splits
    assert scan.classes == ("covid",)


@pytest.mark.parametrize("column", ["label", "y_edema"])
def test_a_blank_column_of_labels_is_refused_unless_it_is_ignored(tmp_path, write_images, text, column):
    text("labels.csv", f"image,{column}\na.png,\nb.png, \n")
    write_images("a.png", "b.png")
    expected = rf"labels\.csv: column {column} is blank in all 2 rows, expected a label in some; fill it, leave it out"
    with pytest.raises(DataError, match=expected):
        CsvSource(root=tmp_path).scan()
    assert len(CsvSource(root=tmp_path, ignore=(column,)).scan().rows) == 2


def test_the_order_of_the_classes_is_an_option(tmp_path, write_images, text):
    text("labels.csv", "image,label\na.png,covid\nb.png,normal\n")
    write_images("a.png", "b.png")
    assert CsvSource(root=tmp_path).scan().classes == ("covid", "normal")
    assert CsvSource(root=tmp_path, classes=("normal", "covid")).scan().classes == ("normal", "covid")


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        ("split", "training", "train, val, test or nothing"),
        ("date", "March", "a date like 2020-03-31"),
        ("date", "2020-03-31T23:00:00Z", "a date like 2020-03-31, without a time zone"),
        ("y_edema", "0.5", "0, 1 or nothing"),
        ("y_edema", "yes", "0, 1 or nothing"),
        ("zone_3", "4", "a severity from 0 to 3"),
        ("zone_3", "nan", "a severity from 0 to 3"),
    ],
)
def test_a_cell_that_does_not_fit_names_table_row_and_column(tmp_path, text, column, cell, expected):
    text("labels.csv", f"image,{column}\na.png,{cell}\n")
    with pytest.raises(DataError, match=rf"labels\.csv row 2, column {column}: '{cell}', expected {expected}"):
        CsvSource(root=tmp_path).scan()


def test_a_column_that_is_not_known_is_named_without_its_cells_which_may_name_people(tmp_path, text):
    text("labels.csv", "image,lable\na.png,Doe John\n")
    with pytest.raises(DataError, match="column lable: no column of the layout; rename it") as failed:
        CsvSource(root=tmp_path).scan()
    assert "Doe" not in str(failed.value)


def test_a_column_may_be_left_aside(tmp_path, write_images, text):
    text("labels.csv", "image,remark\na.png,hello\n")
    write_images("a.png")
    assert "remark" not in CsvSource(root=tmp_path, ignore=("remark",)).scan().rows[0]


def test_absent_images_masks_and_paths_outside_are_reported_with_their_row(tmp_path, write_images, text):
    text("labels.csv", "image,mask\na.png,\ngone.png,\na.png,\nb.png,gone.png\n../x.png,\n/etc/x.png,\n")
    write_images("a.png", "b.png")
    scan = CsvSource(root=tmp_path).scan()
    assert [row["path"] for row in scan.rows] == ["a.png"]
    assert scan.skipped == [
        Skipped("gone.png", 3, "file is absent"),
        Skipped("a.png", 4, "listed twice"),
        Skipped("b.png", 5, "mask gone.png is absent"),
        Skipped("../x.png", 6, "path leaves the data set's folder"),
        Skipped("/etc/x.png", 7, "path leaves the data set's folder"),
    ]


def test_a_row_longer_than_the_header_is_an_error(tmp_path, text):
    text("labels.csv", "image,label\na.png,covid\nb.png,normal, mild\n")
    with pytest.raises(DataError, match=r"labels\.csv row 3: more cells than the header"):
        CsvSource(root=tmp_path).scan()


def test_a_missing_table_or_image_column_is_an_error(tmp_path, text):
    with pytest.raises(DataError, match=r"labels\.csv: no such table, expected columns image"):
        CsvSource(root=tmp_path).scan()
    text("labels.csv", "file\na.png\n")
    with pytest.raises(DataError, match="column image is missing"):
        CsvSource(root=tmp_path).scan()


def test_a_mask_of_another_size_is_not_used_and_counted(tmp_path, write_images, text):
    text("labels.csv", "image,mask\na.png,a_mask.png\nb.png,b_mask.png\n")
    write_images("a.png", "b.png", "b_mask.png")
    with Image.open(tmp_path / "a.png") as image:
        width, height = image.size
    Image.fromarray(np.full((height, width + 1), 255, np.uint8)).save(tmp_path / "a_mask.png")
    scan = CsvSource(root=tmp_path).scan()
    assert [row.get("mask", "") for row in scan.rows] == ["", "b_mask.png"]
    reason = f"mask is {width + 1}×{height}, its image {width}×{height}; the image is used without it"
    assert scan.skipped == [Skipped("a_mask.png", 2, reason)]
