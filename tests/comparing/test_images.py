"""Own images: what is read and left out, whole patients, copies in one split, too few patients."""

import csv
import shutil

import numpy as np
import pytest

from dicom_fixtures import write as write_dicom
from medtransfer.comparing.images import open_input, prepare, with_target
from medtransfer.comparing.question import Asked, recognise
from medtransfer.errors import DataError, LeakError


def rows_of(folder):
    with (folder / "my.csv").open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def write(folder, rows):
    with (folder / "my.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def prepared(folder, out, *columns):
    given = open_input(folder / "my.csv", "imagefolder", "CXR")
    question = recognise(given.table, Asked(columns), source="my.csv")[0]
    return prepare(given, with_target(given, question), question, "own", crop=32, folder=out)


@pytest.fixture
def own(drawn, tmp_path):
    shutil.copytree(drawn, tmp_path / "own")
    return tmp_path / "own"


def test_patients_stay_whole_and_columns_that_nothing_reads_are_named(drawn, tmp_path):
    data, report = prepared(drawn, tmp_path, "diagnosis")
    assert (data.manifest.groupby("patient_id")["split"].nunique() == 1).all()
    assert data.meta.classes == ("ill", "well")
    assert (report.images, report.patients) == (80, 40)
    assert "age" in report.ignored
    assert "diagnosis" not in report.ignored
    assert sum(sum(row.values()) for row in report.counts.values()) == 80


@pytest.mark.parametrize(("columns", "held"), [(("y_bright", "y_odd"), "y_odd"), (("age",), "v_age")])
def test_findings_and_values_are_columns_of_the_manifest(columns, held, drawn, tmp_path):
    data, _ = prepared(drawn, tmp_path, *columns)
    assert data.manifest[held].notna().all()
    assert (data.manifest["label"] == "").all()


def test_images_without_an_answer_and_torn_files_are_left_out(own, tmp_path):
    rows = rows_of(own)
    rows[0]["diagnosis"] = ""
    (own / rows[1]["image"]).write_bytes(b"no image")
    (own / rows[2]["image"]).unlink()
    write(own, rows)
    _, report = prepared(own, tmp_path / "out", "diagnosis")
    assert report.images == 77
    assert set(report.left_out) >= {"file is absent", "no value in diagnosis"}
    assert rows[1]["image"] in {file for files in report.left_out.values() for file in files}


def test_paths_of_another_spelling_and_frames_find_their_row(own):
    rows = rows_of(own)
    rows[0]["image"] = f"./{rows[0]['image']}"
    frames = np.random.default_rng(0).integers(0, 4096, (2, 40, 40)).astype(np.uint16)
    write_dicom(own / "scan.dcm", frames, WindowCenter=2000, WindowWidth=4000)
    write(own, [*rows, rows[1] | {"image": "scan.dcm", "stage": "z"}])
    given = open_input(own / "my.csv", "imagefolder", "CXR")
    assert [row["path"] for row in given.scan.rows][-2:] == ["scan.dcm#1", "scan.dcm#2"]
    assert given.table["stage"][-2:] == ["z", "z"]
    assert given.table["stage"][0] == rows[0]["stage"]


def test_copies_under_other_patients_are_kept_in_one_split(own, tmp_path):
    rows = rows_of(own)
    for number in (0, 20, 40):  # the same files again, as patients of their own
        copy = f"images/copy{number}.png"
        shutil.copyfile(own / rows[number]["image"], own / copy)
        rows.append({**rows[number], "image": copy, "patient_id": f"other{number}"})
    write(own, rows)
    data, report = prepared(own, tmp_path / "out", "diagnosis")
    assert (data.manifest.groupby("sha256")["split"].nunique() == 1).all()
    assert report.joined > 0


def test_a_given_split_with_copies_closes_the_gate(own, tmp_path):
    rows = rows_of(own)
    splits = ("train", "train", "train", "val", "test")
    rows = [{**row, "split": splits[int(row["patient_id"][1:]) % 5]} for row in rows]
    twin = next(row for row in rows if row["split"] == "test")
    shutil.copyfile(own / twin["image"], own / "images/copy.png")
    write(own, [*rows, {**twin, "image": "images/copy.png", "patient_id": "other", "split": "train"}])
    with pytest.raises(LeakError, match="in two splits"):
        prepared(own, tmp_path / "out", "diagnosis")


def test_three_images_are_too_few(own, tmp_path):
    rows = rows_of(own)
    write(own, [rows[0], rows[2], rows[4]])
    with pytest.raises(DataError, match=r"ill: 2 images of 2 patients, expected 10 patients at least"):
        prepared(own, tmp_path / "out", "diagnosis")
