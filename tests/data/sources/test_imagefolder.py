from collections import Counter

import pytest

from medtransfer.data.sources import ImageFolderSource, Skipped
from medtransfer.errors import DataError


def counts(scan):
    return Counter((row["split"], row["label"]) for row in scan.rows)


@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_split_folders_become_official_splits(tmp_path, write_images, validation):
    write_images("train/cat/a.png", "train/dog/b.jpg", f"{validation}/cat/a.png", "test/dog/c.JPEG")
    scan = ImageFolderSource(root=tmp_path).scan()
    assert scan.official_splits
    assert scan.classes == ("cat", "dog")
    assert counts(scan) == {("train", "cat"): 1, ("train", "dog"): 1, ("val", "cat"): 1, ("test", "dog"): 1}
    assert len({row["image_id"] for row in scan.rows}) == 4


def test_without_split_folders_there_are_no_splits_and_each_image_is_a_patient(tmp_path, write_images):
    write_images("cat/a.png", "cat/deep/er/b.png", "dog/a.png")
    scan = ImageFolderSource(root=tmp_path, modality="CT").scan()
    assert not scan.official_splits
    assert counts(scan) == {("", "cat"): 2, ("", "dog"): 1}
    assert len({row["patient_id"] for row in scan.rows}) == 3
    assert {row["modality"] for row in scan.rows} == {"CT"}
    assert scan.patients == "each_image"


def test_natural_images_have_no_patients_that_could_be_unknown(tmp_path, write_images):
    write_images("cat/a.png", "dog/a.png")
    assert ImageFolderSource(root=tmp_path, modality="natural").scan().patients == "known"


def test_renaming_gives_the_classes_and_their_order(tmp_path, write_images):
    write_images("COVID/Covid (1).png", "non-COVID/Non-Covid (1).png", "other/x.png")
    scan = ImageFolderSource(root=tmp_path, rename={"non-COVID": "non-covid", "COVID": "covid"}).scan()
    assert scan.classes == ("non-covid", "covid", "other")
    assert {row["path"]: row["label"] for row in scan.rows}["COVID/Covid (1).png"] == "covid"


def test_two_folders_may_be_one_class(tmp_path, write_images):
    write_images("a/1.png", "b/2.png")
    scan = ImageFolderSource(root=tmp_path, rename={"a": "one", "b": "one"}).scan()
    assert scan.classes == ("one",)


def test_a_limit_counts_each_class_and_split_and_is_the_same_each_time(tmp_path, write_images):
    write_images(*(f"train/{c}/{i}.png" for c in "ab" for i in range(9)), "test/a/0.png")
    source = ImageFolderSource(root=tmp_path, limit_per_class=4)
    first = source.scan()
    assert counts(first) == {("train", "a"): 4, ("train", "b"): 4, ("test", "a"): 1}
    assert first.rows == source.scan().rows
    assert Skipped("train/a", None, "5 images above the limit of the class") in first.skipped


def test_what_is_no_image_is_reported(tmp_path, write_images, text):
    write_images("train/cat/a.png", "extra/x/b.png")
    text("train/cat/notes.txt", "hello")
    (tmp_path / "train" / "empty").mkdir()
    scan = ImageFolderSource(root=tmp_path).scan()
    assert set(scan.skipped) == {
        Skipped("train/cat/notes.txt", None, "not an image by its name"),
        Skipped("train/empty", None, "class folder without images"),
        Skipped("extra/x/b.png", None, "beside the split folders"),
    }
    assert scan.classes == ("cat",)


def test_a_folder_without_images_or_without_existence_is_an_error(tmp_path):
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="no image found, 1 left out; first reason: cat: class folder without images"):
        ImageFolderSource(root=tmp_path).scan()
    with pytest.raises(DataError, match="absent: no such folder, expected a data set"):
        ImageFolderSource(root=tmp_path / "absent").scan()
