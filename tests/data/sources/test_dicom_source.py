"""The source ``dicom``: a table and an archive's export become images without the identity of anyone."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from pydicom import dcmread

from dicom_fixtures import SECRETS, write
from medtransfer.data import add
from medtransfer.data.add import add_dataset, scan_to_manifest
from medtransfer.data.images import read_image
from medtransfer.data.sources import CsvSource, DicomSource
from medtransfer.errors import DataError


def stack(count, level):
    return np.stack(
        [
            np.full((24, 24), level + 100 * number, np.uint16) + np.arange(24, dtype=np.uint16) ** 2 * 5
            for number in range(count)
        ]
    )


@pytest.fixture
def export(tmp_path):
    """Two patients: a CT of three frames and a slice of one, an X-ray of the other; a file without image; DICOMDIR."""
    root = tmp_path / "export"
    (root / "series").mkdir(parents=True)
    write(root / "series/scan.dcm", stack(3, 100), Modality="CT", WindowCenter=400, WindowWidth=900)
    write(root / "slice", stack(1, 900)[0], Modality="CT", WindowCenter=40, WindowWidth=400)
    write(root / "chest.dcm", stack(1, 500)[0], PatientID="OTHER-88", ViewPosition="PA", Laterality="R", Modality="DX")
    write(root / "unlisted.dcm", stack(1, 700)[0])
    directory = dcmread(write(root / "DICOMDIR", stack(1, 1)[0]))
    del directory.PixelData
    directory.save_as(root / "DICOMDIR")
    uid = dcmread(root / "chest.dcm").SOPInstanceUID
    digest = hashlib.sha256(dcmread(root / "slice").SOPInstanceUID.encode()).hexdigest()
    rows = ["image,label,date", "series/scan.dcm,covid,2020-03-01", f"{uid},normal,", f"{digest},normal,"]
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return root


def test_rows_are_frames_with_patients_as_numbers_and_what_the_header_says(export):
    scan = DicomSource(root=export).scan()
    table, skipped = scan_to_manifest(DicomSource(root=export), "mine", scan=scan)
    assert list(table["path"]) == [*(f"series/scan.dcm#{number}" for number in (1, 2, 3)), "chest.dcm", "slice"]
    assert list(table["image_id"]) == [f"mine/{path}" for path in table["path"]]
    assert list(table["patient_id"]) == ["mine:00001"] * 3 + ["mine:00002", "mine:00001"]
    assert list(table["modality"]) == ["CT"] * 3 + ["CXR", "CT"]
    assert list(table["view"]) == [""] * 3 + ["PA", ""]
    assert list(table["laterality"]) == [""] * 3 + ["R", ""]
    assert list(table["window"]) == ["400/900 LINEAR"] * 3 + ["none", "40/400 LINEAR"]
    assert table["pixel_sha"].nunique() == 5
    assert scan.patients == "known"
    assert not skipped


def test_the_copy_names_nobody_and_is_read_as_the_export_was(export, tmp_path):
    report = add_dataset(DicomSource(root=export), "mine", copy_to=tmp_path / "datasets")
    assert (report.images, report.patients) == (5, 2)
    assert "DICOM: grey levels by the files' own windows (images): 400/900 LINEAR (3), " in "\n".join(report.notes)
    folder = tmp_path / "datasets/mine"
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert files == {"labels.csv", "series/scan.dcm", "slice", "chest.dcm"}
    table = pd.read_csv(folder / "labels.csv", dtype=str, keep_default_na=False)
    assert list(table["image"]) == [*(f"series/scan.dcm#{number}" for number in (1, 2, 3)), "chest.dcm", "slice"]
    stored = [file.read_bytes() for file in (tmp_path / "datasets").rglob("*") if file.is_file()]
    assert not [secret for secret in (*SECRETS, "OTHER-88") for content in stored if secret.encode() in content]
    before, _ = scan_to_manifest(DicomSource(root=export), "mine")
    for source in (DicomSource(root=folder), CsvSource(root=folder)):
        after, skipped = scan_to_manifest(source, "mine")
        pd.testing.assert_frame_equal(before.drop(columns="sha256"), after.drop(columns="sha256"))
        assert not skipped
    assert np.array_equal(*(read_image(at / "series/scan.dcm#3", channels=1) for at in (export, folder)))


def test_rows_that_lead_nowhere_are_left_out_without_their_uid(export):
    (export / "labels.csv").write_text("image,label\nslice,normal\n1.2.3.4711,covid\nchest.dcm#2,covid\n")
    scan = DicomSource(root=export).scan()
    table, skipped = scan_to_manifest(DicomSource(root=export), "mine", scan=scan)
    assert list(table["path"]) == ["slice"]
    assert [(each.file, each.row, each.reason) for each in skipped] == [
        ("labels.csv", 3, "no file has this SOPInstanceUID"),
        ("chest.dcm#2", None, "frame 2 of a DICOM of 1; name one that is there"),
    ]


def test_patients_of_the_table_come_first_and_a_file_without_one_is_its_own(export):
    write(export / "slice", stack(1, 900)[0], Modality="CT", PatientID="")
    (export / "labels.csv").write_text(
        "image,patient_id,label\nslice,,normal\nchest.dcm,Doe John,covid\nseries/scan.dcm#2,Doe John,covid\n"
    )
    scan = DicomSource(root=export).scan()
    assert [row["patient_id"] for row in scan.rows] == ["slice", "00001", "00001"]
    assert scan.patients == "each_image"
    assert scan.rewritten["labels.csv"].count(",00001\n") == 2
    assert "Doe" not in scan.rewritten["labels.csv"]


def test_patients_are_named_by_the_table_or_by_the_headers_and_not_by_both(export):
    (export / "labels.csv").write_text("image,patient_id,label\nchest.dcm,Doe John,covid\nslice,,normal\n")
    with pytest.raises(
        DataError, match=r"row 3 has no patient_id and others have one, expected one in every row"
    ) as said:
        DicomSource(root=export).scan()
    assert "Doe" not in str(said.value)


def test_a_hash_in_capitals_finds_its_file(export):
    digest = hashlib.sha256(dcmread(export / "slice").SOPInstanceUID.encode()).hexdigest().upper()
    (export / "labels.csv").write_text(f"image,label\n{digest},normal\nchest.dcm,covid\n")
    assert [row["path"] for row in DicomSource(root=export).scan().rows] == ["slice", "chest.dcm"]


def test_the_modality_that_is_set_counts_where_a_cell_is_empty(export):
    write(export / "slice", stack(1, 900)[0], Modality="OT")
    (export / "labels.csv").write_text("image,label,modality\nslice,normal,\nchest.dcm,covid,CXR\n")
    assert [row["modality"] for row in DicomSource(root=export, modality="CT").scan().rows] == ["CT", "CXR"]


def test_a_file_of_frames_is_hashed_once(export, monkeypatch):
    hashed = []
    monkeypatch.setattr(add, "sha256_file", lambda file: hashed.append(file.name) or "0" * 64)
    scan_to_manifest(DicomSource(root=export), "mine")
    assert sorted(hashed) == ["chest.dcm", "scan.dcm", "slice"]


def test_another_modality_is_left_out_unless_the_user_says_what_it_is(export):
    write(export / "slice", stack(1, 900)[0], Modality="PLANTED^NAME")
    (export / "labels.csv").write_text("image,label\nslice,normal\nchest.dcm,covid\n")
    scan = DicomSource(root=export).scan()
    assert [(each.file, each.reason) for each in scan.skipped] == [
        ("slice", "neither CT nor a radiograph by its header; say which: column modality")
    ]
    assert [row["modality"] for row in DicomSource(root=export, modality="CT").scan().rows] == ["CT", "CT"]


def test_a_mask_for_several_frames_is_refused_by_row(export, tmp_path):
    write(export / "mask.dcm", stack(1, 0)[0])
    (export / "labels.csv").write_text("image,label,mask\nslice,normal,\nseries/scan.dcm,covid,mask.dcm\n")
    scan = DicomSource(root=export).scan()
    assert "one mask for 3 frames; name each frame in a row (series/scan.dcm#1)" in scan.skipped[0].reason


def test_a_frame_leads_no_further_than_its_file(export, tmp_path):
    write(tmp_path / "outside.dcm", stack(2, 0))
    (export / "link.dcm").symlink_to(tmp_path / "outside.dcm")
    (export / "labels.csv").write_text("image,label\nlink.dcm#1,normal\nslice,normal\n")
    assert [each.reason for each in DicomSource(root=export).scan().skipped] == [
        "a link that leads out of the data set's folder"
    ]


def test_a_folder_without_table_says_what_is_expected(export):
    (export / "labels.csv").unlink()
    with pytest.raises(DataError, match=r"labels\.csv: no such table, expected columns image"):
        DicomSource(root=export).scan()
