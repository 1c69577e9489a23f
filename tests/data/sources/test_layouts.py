"""Folders and tables as people have them: every file is read or left out with a reason, nothing is guessed."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from medtransfer.data.add import add_dataset, decoded_classes, scan_to_manifest, unlisted
from medtransfer.data.sources import ChestXray14Source, CsvSource, ImageFolderSource
from medtransfer.data.sources.listing import images_below
from medtransfer.errors import DataError


def reasons(scan):
    return {each.file: each.reason for each in scan.skipped}


def folder(root, **options):
    return ImageFolderSource(root=root, **options).scan()


def test_masks_hidden_files_thumbnails_and_loose_files_are_left_out_with_a_reason(tmp_path, write_images, text):
    write_images("COVID/images/a.png", "COVID/masks/a.png", "Normal/images/b.png", "Normal/b_thumb.png", "Normal/b.png")
    write_images("__MACOSX/._a.png", "Normal/.ipynb_checkpoints/b.png", "Normal/thumbs/b.png", "loose.png")
    text("Normal/scan", b"\0" * 128 + b"DICM")
    text("Normal/scan.dcm", b"not DICOM")
    scan = folder(tmp_path)
    assert scan.classes == ("COVID", "Normal")
    assert {row["path"] for row in scan.rows} == {
        *("COVID/images/a.png", "Normal/images/b.png", "Normal/b.png", "Normal/scan")
    }
    assert reasons(scan) == {
        "COVID/masks/a.png": "in a folder of masks",
        "Normal/b_thumb.png": "a thumbnail of Normal/b.png",
        "Normal/thumbs/b.png": "in a folder of thumbnails",
        "Normal/.ipynb_checkpoints": "hidden, or made by the system",
        "__MACOSX": "hidden, or made by the system",
        "loose.png": "in no class folder, so without a label",
        "Normal/scan.dcm": "not an image by its bytes, though named like DICOM",
    }


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (("images/a.png", "masks/a.png"), r'folder masks has the name of masks .* --set "leave_out=\[masks\]"'),
        (
            ("Training/a/1.png", "Testing/a/1.png"),
            r'Testing has the name of a split .* --set "splits={Testing: train}"',
        ),
    ],
)
def test_names_that_look_like_splits_or_masks_are_no_classes(tmp_path, write_images, made, said):
    write_images(*made)
    with pytest.raises(DataError, match=said):
        folder(tmp_path)


def test_the_remedies_work(tmp_path, write_images):
    write_images("Training/a/1.png", "Training/b/1.png", "Testing/a/1.png", "Testing/masks/1.png")
    scan = folder(tmp_path, splits={"Training": "train", "Testing": "test"}, leave_out=("masks",))
    assert {(row["split"], row["label"]) for row in scan.rows} == {("train", "a"), ("train", "b"), ("test", "a")}
    assert scan.notes == ("folders of splits: Testing (test), Training (train)",)


def test_one_class_is_refused_with_what_is_below_it(tmp_path, write_images):
    write_images("chest_xray/ill/a.png", "chest_xray/well/b.png")
    source = ImageFolderSource(root=tmp_path)
    with pytest.raises(
        DataError, match=r"one class, chest_xray, .*; below it are ill, well: give --from .*/chest_xray"
    ):
        add_dataset(source, "x", copy_to=tmp_path / "datasets")
    assert not (tmp_path / "datasets").exists()


def test_classes_are_those_of_images_that_can_be_decoded(tmp_path, write_images, text):
    write_images("a/1.png", "b/1.png")
    text("c/1.png", "no image")
    source = ImageFolderSource(root=tmp_path)
    scan = source.scan()
    manifest, _ = scan_to_manifest(source, "x", scan=scan)
    assert scan.classes == ("a", "b", "c")
    assert decoded_classes(source, scan, manifest) == ("a", "b")


def test_links_are_followed_inside_the_root_and_no_further(tmp_path, write_images):
    write_images("root/ill/1.png", "root/well/2.png", "root/more/3.png", "outside/4.png")
    root = tmp_path / "root"
    (root / "ill/more").symlink_to("../more")
    (root / "ill/far").symlink_to(tmp_path / "outside")
    (root / "ill/self").symlink_to("..")
    (root / "ill/gone.png").symlink_to("nowhere.png")
    scan = folder(root)
    assert {row["path"]: row["label"] for row in scan.rows}["ill/more/3.png"] == "ill"
    assert reasons(scan)["more/3.png"] == "the same file as ill/more/3.png"
    assert reasons(scan)["ill/far"] == "a link that leads out of the data set's folder"
    assert reasons(scan)["ill/self"] == "a link to a folder that it is in"
    assert reasons(scan)["ill/gone.png"] == "a link to nothing"


def test_a_link_that_a_table_lists_does_not_lead_out_either(tmp_path, write_images, text):
    write_images("root/a.png", "secret.png")
    (tmp_path / "root/b.png").symlink_to(tmp_path / "secret.png")
    text("root/labels.csv", "image\na.png\nb.png\n./a.png\nimages//../a.png\n")
    scan = CsvSource(root=tmp_path / "root").scan()
    assert [row["path"] for row in scan.rows] == ["a.png"]
    assert [each.reason for each in scan.skipped] == [
        "a link that leads out of the data set's folder",
        "listed twice",
        "path leaves the data set's folder",
    ]


def test_a_name_that_is_not_utf_8_is_left_out(tmp_path, write_images):
    write_images("a/1.png")
    (tmp_path / "a" / os.fsdecode(b"caf\xe9.png")).write_bytes((tmp_path / "a/1.png").read_bytes())
    images, left_out = images_below(tmp_path)
    assert images == ["a/1.png"]
    assert left_out[0].reason == "its name is not UTF-8; rename it"
    left_out[0].file.encode()


def test_a_class_that_no_metric_can_be_named_after_is_refused(tmp_path, write_images):
    write_images("a|b/1.png", "c/1.png")
    with pytest.raises(DataError, match=r"class 'a\|b', expected letters"):
        folder(tmp_path)


TABLES = {
    "semicolon": b"image;label\na.png;ill\nb.png;well\n",
    "tab in UTF-16": "image\tlabel\na.png\till\nb.png\twell\n".encode("utf-16"),
    "sep=": b"sep=;\r\nimage;label\r\na.png;ill\r\nb.png;well\r\n",
    "mark": "\ufeffimage,label\na.png,ill\nb.png,well\n".encode(),
    "blanks and case": b"Image, LABEL \n a.png , ill\nb.png,well \n",
    "empty rows and columns": b"image,label,,\na.png,ill,,\n,,,\n\nb.png,well,,\n,,,\n",
    "windows": b"image,label\n.\\a.png,ill\n.\\b.png,well\n",
}


@pytest.mark.parametrize("content", TABLES.values(), ids=TABLES)
def test_a_table_is_read_whatever_program_wrote_it(tmp_path, write_images, text, content):
    write_images("a.png", "b.png")
    text("labels.csv", content)
    scan = CsvSource(root=tmp_path).scan()
    assert [(row["path"], row["label"]) for row in scan.rows] == [("a.png", "ill"), ("b.png", "well")]


def test_what_was_dropped_is_counted_and_absolute_paths_inside_are_read(tmp_path, write_images, text):
    write_images("a.png")
    text("labels.csv", f"image,label,\n{tmp_path}/a.png,ill,\n,,\n")
    scan = CsvSource(root=tmp_path).scan()
    assert scan.rows[0]["path"] == "a.png"
    assert scan.notes == (
        "labels.csv: 1 empty rows dropped",
        "labels.csv: 1 empty columns without a name dropped",
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"image,label\na.png,ill\nb.png,NA\n", r"row 3, column label: 'NA', expected a name, or nothing"),
        (b"image,label\na.png,ill\nb.png,Ill\n", r"row 3, column label: 'Ill', expected 'ill' as in an earlier row"),
        (b"image,label\na.png,ill\nb.png,caf\xe9\n", r"row 3, column label: 'café', expected readable letters"),
        (b"image,label,Label\na.png,ill,ill\n", "column label occurs twice"),
        (b"scan,label\na.png,ill\n", "column image is missing, expected image; there are scan, label"),
    ],
)
def test_what_could_mean_two_things_is_refused_by_its_place(tmp_path, write_images, text, content, said):
    write_images("a.png", "b.png")
    text("labels.csv", content)
    with pytest.raises(DataError, match=said):
        CsvSource(root=tmp_path).scan()


def test_text_without_a_column_name_is_left_out_and_counted(tmp_path, write_images, text):
    """As pandas writes an index, and as the published list of the COVID-19 Image Data Collection ends."""
    write_images("a.png", "b.png")
    text("labels.csv", ",image,label,\n0,a.png,ill,Credit to N. N.\n1,b.png,well,\n")
    scan = CsvSource(root=tmp_path).scan()
    assert [row["path"] for row in scan.rows] == ["a.png", "b.png"]
    assert scan.notes == ("labels.csv: 2 columns that hold text but have no name left out",)


def test_further_columns_are_left_aside_where_that_is_asked_for(tmp_path, write_images, text):
    write_images("a.png")
    text("labels.csv", "image,Age,sex\na.png,50,f\n")
    assert CsvSource(root=tmp_path, unknown="ignore").scan().notes == ("columns not read: Age, sex",)


def test_the_newer_of_two_tables_is_read_and_the_share_of_absent_files_said(tmp_path, write_images, text):
    header = "Image Index,Finding Labels,Patient ID,View Position\n"
    text("Data_Entry_2017.csv", header + "old.png,Mass,1,PA\n")
    text("Data_Entry_2017_v2020.csv", header + "a.png ,No Finding,1,AP \ngone.png,No Finding,2,AP\n")
    write_images("images_001/a.png", "images_002/a.png")
    scan = ChestXray14Source(root=tmp_path).scan()
    assert scan.rows[0]["view"] == "AP"
    assert scan.notes[0].startswith("1 of 2 listed files (50%) are not below")
    assert scan.notes[1] == "Data_Entry_2017_v2020.csv is read, Data_Entry_2017.csv is not"
    assert reasons(scan)["images_002/a.png"] == "images_001/a.png has the same name and is read"


def test_a_part_of_a_data_set_without_a_split_is_refused(tmp_path, write_images, text):
    header = "Image Index,Finding Labels,Patient ID\n"
    text("Data_Entry_2017.csv", header + "".join(f"{n}.png,Mass,{n}\n" for n in range(4)))
    text("train_val_list.txt", "0.png\n1.png\n")
    text("test_list.txt", "2.png\n3.png\n")
    write_images("images_001/2.png")
    with pytest.raises(DataError, match=r"3 of 4 listed files .* and none of the split train; add the other parts"):
        ChestXray14Source(root=tmp_path).scan()


def test_files_that_no_list_names_are_counted_by_folder(tmp_path, write_images, text):
    write_images("x/a.png", "y/b.png", "y/c.png")
    text("labels.csv", "image\nx/a.png\n")
    source = CsvSource(root=tmp_path)
    assert [(each.file, each.reason) for each in unlisted(source, source.scan())] == [("y/", "2 files in no list")]


def test_data_that_are_in_their_place_already_are_not_to_be_removed(tmp_path, write_images):
    write_images("datasets/mine/a/1.png", "datasets/mine/b/1.png")
    source = ImageFolderSource(root=tmp_path / "datasets/mine")
    with pytest.raises(DataError, match=r"in its place already, nothing is copied; .* dvc add") as error:
        add_dataset(source, "mine", copy_to=tmp_path / "datasets")
    assert "remove" not in str(error.value)


def test_hounsfield_units_are_added_because_a_window_may_follow(tmp_path):
    for label in "ab":
        (tmp_path / "raw" / label).mkdir(parents=True)
        units = np.linspace(-1000, 400 + ord(label), 64).reshape(8, 8).astype(np.int16)
        Image.fromarray(units).save(tmp_path / "raw" / label / "1.tif")
    report = add_dataset(ImageFolderSource(root=tmp_path / "raw"), "hu", copy_to=tmp_path / "datasets")
    assert report.images == 2
    assert json.loads((tmp_path / "datasets/hu.report.json").read_text())["skipped"] == []
