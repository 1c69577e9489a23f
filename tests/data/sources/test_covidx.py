import pytest

from medtransfer.data.sources import CovidxSource, Skipped
from medtransfer.errors import DataError


def test_lines_are_split_from_the_right_because_ids_hold_spaces(tmp_path, write_images, text):
    text("labels/train_COVIDx7A.txt", "COVID 70 a.png COVID-19 fig1\n3 b.png normal rsna\n3 c.jpg pneumonia cohen\n")
    text("labels/test_COVIDx7A.txt", "9 d.png normal RSNA\n")
    write_images("train/a.png", "train/b.png", "train/c.jpg", "test/d.png")
    scan = CovidxSource(root=tmp_path, version="7A").scan()
    assert scan.classes == ("normal", "pneumonia", "covid")
    assert [(r["patient_id"], r["label"], r["split"], r["source"]) for r in scan.rows] == [
        ("fig1:COVID 70", "covid", "train", "fig1"),
        ("rsna:3", "normal", "train", "rsna"),
        ("cohen:3", "pneumonia", "train", "cohen"),
        ("rsna:9", "normal", "test", "rsna"),
    ]
    assert scan.official_splits
    assert scan.metadata == ("labels/train_COVIDx7A.txt", "labels/test_COVIDx7A.txt")


def test_the_misspelt_source_is_one_with_the_right_one(tmp_path, write_images, text):
    text("train_COVIDx9A.txt", "8 a.png normal rnsa\n")
    text("test_COVIDx9A.txt", "8 b.png normal rsna\n")
    write_images("train/a.png", "test/b.png")
    scan = CovidxSource(root=tmp_path, version="9A").scan()
    assert {row["source"] for row in scan.rows} == {"rsna"}
    assert scan.known_overlaps == "1 of 1 patients are in more than one official split: rsna:8"


def test_positive_and_negative_lists_have_two_classes(tmp_path, write_images, text):
    text("labels/train_COVIDx8B.txt", "1 a.png positive cohen\n2 b.png negative rsna\n")
    text("labels/test_COVIDx8B.txt", "3 c.png negative rsna\n")
    write_images("train/a.png", "train/b.png", "test/c.png")
    scan = CovidxSource(root=tmp_path, version="8B").scan()
    assert scan.classes == ("non-covid", "covid")
    assert [row["label"] for row in scan.rows] == ["covid", "non-covid", "non-covid"]


def test_lines_that_cannot_be_read_are_reported_with_their_row(tmp_path, write_images, text):
    text("labels/train_COVIDx4.txt", "1 a.png normal rsna\nb.png normal\n3 c.png flu sirm\n4 d.png normal rsna\n")
    text("labels/test_COVIDx4.txt", "")
    write_images("train/a.png")
    scan = CovidxSource(root=tmp_path).scan()
    assert len(scan.rows) == 1
    assert scan.skipped == [
        Skipped("b.png normal", 2, "expected patient, file, label and, where it is known, source"),
        Skipped("3 c.png flu sirm", 3, "no label, expected one of normal, pneumonia, COVID-19, negative, positive"),
        Skipped("train/d.png", 4, "file is absent"),
    ]


def test_lines_without_a_source_are_read_and_belong_to_the_patient_that_another_line_names(
    tmp_path, write_images, text
):
    text("labels/train_COVIDx5.txt", "a b 1.png normal rsna\n8 2.png COVID-19 cohen\n8 3.png COVID-19 sirm\n")
    text("labels/test_COVIDx5.txt", "a b 4.png normal\n8 5.png pneumonia\nc 6.png normal\n9 7.png COVID-19 cohen\n")
    write_images(*(f"train/{n}.png" for n in (1, 2, 3)), *(f"test/{n}.png" for n in (4, 5, 6, 7)))
    scan = CovidxSource(root=tmp_path, version="5").scan()
    test = [(r["patient_id"], r["label"], r["source"]) for r in scan.rows if r["split"] == "test"]
    assert test == [
        ("rsna:a b", "normal", ""),
        (":8", "pneumonia", ""),
        (":c", "normal", ""),
        ("cohen:9", "covid", "cohen"),
    ]
    assert scan.known_overlaps.endswith("rsna:a b")
    assert scan.skipped == []


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("labels/train_COVIDx9A.txt", r"there are lists of version 9A; set the version"),
        ("train.txt", r"there is train\.txt, whose first line is '1 a\.png positive cohen'; this layout reads patient"),
        ("", "there is no list at all"),
    ],
)
def test_lists_of_another_version_are_an_error_that_says_which_are_there(tmp_path, text, file, said):
    if file:
        text(file, "1 a.png positive cohen\n")
    with pytest.raises(DataError, match=rf"neither labels/train_COVIDx3\.txt nor .* exists; {said}"):
        CovidxSource(root=tmp_path, version="3").scan()
