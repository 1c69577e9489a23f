from collections import Counter

import pytest

from medtransfer.data.manifest import build_manifest, validate_manifest
from medtransfer.data.sources import CovidxLikeSource

ENTRIES = "Image Index,Finding Labels,Follow-up #,Patient ID\n" + "".join(
    f"{i}.png,{finding},0,{i // 2}\n"
    for i, finding in enumerate(["No Finding"] * 6 + ["Pneumonia|Edema"] * 4 + ["Edema", "Mass|Nodule"])
)
META = (
    "patientid,finding,view,folder,filename\n"
    "1,COVID-19,PA,images,a.png\n1,No Finding,PA,images,b.png\n2,COVID-19,L,images,c.png\n"
)


@pytest.fixture
def tree(write_images, text):
    text("chestxray14/Data_Entry_2017.csv", ENTRIES)
    text("covid-chestxray-dataset/metadata.csv", META)
    write_images(*(f"chestxray14/images/{i}.png" for i in range(12)))
    write_images(*(f"covid-chestxray-dataset/images/{name}.png" for name in "abc"))
    write_images("covid-chestxray-dataset/annotations/lungVAE-masks/a_mask.png")


def test_negatives_and_positives_come_from_two_collections(tmp_path, tree):
    scan = CovidxLikeSource(root=tmp_path).scan()
    assert scan.classes == ("normal", "pneumonia", "covid")
    assert Counter((row["label"], row["source"]) for row in scan.rows) == {
        ("normal", "nih"): 6,
        ("pneumonia", "nih"): 4,
        ("covid", "cohen"): 1,
    }
    assert all((tmp_path / row["path"]).is_file() for row in scan.rows)
    assert all((tmp_path / file).is_file() for file in scan.metadata)
    assert scan.rows[-1]["mask"] == "covid-chestxray-dataset/annotations/lungVAE-masks/a_mask.png"
    assert not scan.official_splits


def test_the_same_number_in_two_collections_is_two_patients_and_no_finding_column_remains(tmp_path, tree):
    scan = CovidxLikeSource(root=tmp_path).scan()
    patients = {row["patient_id"] for row in scan.rows}
    assert {"nih:1", "cohen:1"} <= patients
    manifest = build_manifest([row | {"dataset": "d"} for row in scan.rows])
    assert not [column for column in manifest if column.startswith("y_")]
    validate_manifest(manifest, classes=scan.classes)


def test_limits_draw_whole_patients_the_same_each_time_and_are_reported(tmp_path, tree):
    source = CovidxLikeSource(root=tmp_path, max_normal=2, max_pneumonia=2)
    scan = source.scan()
    assert scan.rows == source.scan().rows
    assert Counter(row["label"] for row in scan.rows) == {"normal": 2, "pneumonia": 2, "covid": 1}
    assert len({row["patient_id"] for row in scan.rows if row["label"] == "normal"}) == 1
    reasons = {each.file: each.reason for each in scan.skipped if each.row is None}
    assert reasons == {
        "chestxray14": "8 images are of no class of this set or above its limits",
        "covid-chestxray-dataset": "1 images are of no class of this set or above its limits",
    }


def test_what_the_two_sources_left_out_is_reported_below_their_folders(tmp_path, tree):
    skipped = CovidxLikeSource(root=tmp_path).scan().skipped
    assert ("covid-chestxray-dataset/images/c.png", 4) in [(each.file, each.row) for each in skipped]


BRIXIA = "filename," + ",".join(f"{who}-{zone}" for who in "SJ" for zone in [*"ABCDEF", "Global"]) + "\n"


def test_absent_files_of_a_part_are_counted_below_its_folder(tmp_path, tree):
    (tmp_path / "chestxray14/images/3.png").unlink()
    scan = CovidxLikeSource(root=tmp_path).scan()
    assert scan.notes == (f"1 of 12 listed files (8%) are not below {tmp_path / 'chestxray14'}",)


def test_findings_scores_and_hospitals_make_one_set_for_every_step_of_a_chain(tmp_path, tree, text):
    table = (
        "patientid,finding,view,folder,filename,location\n"
        '1,COVID-19,PA,images,a.png,"Rome,  Italy"\n2,No Finding,PA,images,b.png,\n'
    )
    text("covid-chestxray-dataset/metadata.csv", table)
    text("brixia/scores.csv", BRIXIA + "a.png,0,1,2,3,0,0,6,0,0,0,0,0,0,0\nb.png" + ",0" * 14 + "\n")
    source = CovidxLikeSource(
        root=tmp_path, findings=("edema", "lung_opacity"), annotations="brixia/scores.csv", hospital="location"
    )
    scan = source.scan()
    rows = {row["path"].rpartition("/")[2]: row for row in scan.rows}
    assert len(rows) == 14
    assert (rows["10.png"]["label"], rows["10.png"]["y_edema"]) == ("", 1.0)
    assert {name for name in rows["0.png"] if name.startswith("y_")} == {"y_edema", "y_lung_opacity"}
    assert rows["a.png"]["source"] == "cohen/rome, italy"
    assert [rows["a.png"][f"zone_{place}"] for place in range(6)] == [0, 1, 1, 1, 0, 0]
    assert rows["a.png"]["v_senior_3"] == 3
    assert (rows["b.png"]["label"], rows["b.png"]["source"], rows["b.png"]["zone_0"]) == ("", "cohen", 0)
    assert rows["b.png"]["patient_id"] == "cohen:2"
    assert "brixia/scores.csv" in scan.metadata
    validate_manifest(build_manifest([row | {"dataset": "d"} for row in scan.rows]), classes=scan.classes)


def test_other_classes_of_the_collection_can_be_kept(tmp_path, tree):
    scan = CovidxLikeSource(root=tmp_path, collection_classes=("normal", "covid")).scan()
    assert Counter((row["label"], row["source"]) for row in scan.rows)["normal", "cohen"] == 1
