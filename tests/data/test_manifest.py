import numpy as np
import pandas as pd
import pytest

from medtransfer.data.manifest import (
    COLUMNS,
    build_manifest,
    classes_of,
    empty_row,
    finding_columns,
    read_manifest,
    validate_manifest,
    write_manifest,
)
from medtransfer.errors import DataError


def rows(count=3, **fields):
    return [
        {"image_id": f"d/{i}", "patient_id": f"d:{i}", "dataset": "d", "path": f"{i}.png", **fields}
        for i in range(count)
    ]


def test_the_columns_are_those_of_the_contract_in_its_order():
    expected = "image_id patient_id dataset source modality view laterality date path window"
    expected += " sha256 pixel_sha phash split label"
    tail = [f"zone_{i}" for i in range(6)] + ["mask_row", "row"]
    assert list(build_manifest(rows()).columns) == expected.split() + tail
    assert set(empty_row()) == set(COLUMNS)


def test_what_a_row_lacks_is_missing():
    manifest = build_manifest(rows())
    assert (manifest[["source", "view", "split", "label"]] == "").all().all()
    assert manifest["date"].isna().all()
    assert manifest[[f"zone_{i}" for i in range(6)]].isna().all().all()
    assert (manifest[["mask_row", "row"]] == -1).all().all()


def test_several_findings_keep_zero_one_and_not_known_apart(tmp_path):
    table = rows()
    table[0]["y_edema"], table[1]["y_edema"], table[2]["y_mass"] = 1, 0.0, 1
    write_manifest(build_manifest(table), tmp_path / "m.parquet")
    manifest = read_manifest(tmp_path / "m.parquet")
    assert finding_columns(manifest) == ("y_edema", "y_mass")
    np.testing.assert_array_equal(manifest["y_edema"], [1.0, 0.0, np.nan])
    np.testing.assert_array_equal(manifest["y_mass"], [np.nan, np.nan, 1.0])


def test_six_zones_masks_date_source_and_view_survive_the_file(tmp_path):
    full = {f"zone_{i}": i % 4 for i in range(6)}
    full |= {
        "mask_row": 7,
        "row": 2,
        "date": pd.Timestamp("2020-03-04"),
        "source": "east",
        "view": "PA",
        "label": "covid",
    }
    table = [rows(1)[0] | full, rows(2)[1]]
    write_manifest(build_manifest(table), tmp_path / "m.parquet")
    manifest = read_manifest(tmp_path / "m.parquet")
    assert manifest.loc[0, list(full)].to_dict() == full
    assert pd.isna(manifest.loc[1, "date"])
    assert manifest.loc[1, "mask_row"] == -1
    pd.testing.assert_frame_equal(manifest, build_manifest(table))


def test_numbers_become_text_where_text_is_promised():
    manifest = build_manifest([row | {"patient_id": 3, "source": None} for row in rows()])
    assert manifest["patient_id"].tolist() == ["3", "3", "3"]
    assert manifest["source"].tolist() == ["", "", ""]


def test_classes_are_the_labels_that_occur():
    table = [row | {"label": label} for row, label in zip(rows(), ["b", "", "a"], strict=True)]
    assert classes_of(build_manifest(table)) == ("a", "b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": "d/same"}, r"column image_id: 3 rows are wrong \('d/same'.*expected unique ids"),
        ({"patient_id": ""}, "column patient_id: 3 rows are wrong .*not empty"),
        ({"split": "training"}, "column split: 3 rows .*'training'.*train, val, test or nothing"),
        ({"y_edema": 0.5}, "column y_edema: 3 rows .*0 or 1"),
        ({"zone_2": 4}, "column zone_2: 3 rows .*severity from 0 to 3"),
        ({"lable": "a"}, "lable is no column of a manifest"),
    ],
)
def test_a_broken_promise_names_column_ids_and_expectation(change, message):
    broken = [row | change for row in rows()]
    with pytest.raises(DataError, match=message):
        validate_manifest(build_manifest(broken))


def test_a_label_outside_the_classes_is_refused():
    manifest = build_manifest(rows(label="flu"))
    assert validate_manifest(manifest) is manifest
    with pytest.raises(DataError, match=r"column label: 3 rows .*'flu'.*expected one of covid, normal"):
        validate_manifest(manifest, classes=("covid", "normal"))


@pytest.mark.parametrize(("field", "expected"), [("y_edema", "0, 1"), ("zone_1", "from 0 to 3"), ("date", "dates")])
def test_a_value_of_another_type_is_refused_when_building(field, expected):
    with pytest.raises(DataError, match=f"column {field}: .*expected .*{expected}"):
        build_manifest(rows(**{field: "perhaps"}))


def test_a_missing_column_is_named():
    with pytest.raises(DataError, match="column view is missing"):
        validate_manifest(build_manifest(rows()).drop(columns="view"))


def test_no_rows_are_no_manifest():
    with pytest.raises(DataError, match="no rows, expected at least one image"):
        build_manifest([])


def test_absent_and_damaged_files_are_told_apart(tmp_path):
    with pytest.raises(DataError, match="no such manifest"):
        read_manifest(tmp_path / "absent.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match="not a readable parquet file"):
        read_manifest(tmp_path / "bad.parquet")


def test_an_invalid_manifest_is_not_written(tmp_path):
    with pytest.raises(DataError, match="unique ids"):
        write_manifest(build_manifest(rows(image_id="d/x")), tmp_path / "m.parquet")
    assert list(tmp_path.iterdir()) == []
