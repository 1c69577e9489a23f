"""What the predictions table carries and what it refuses."""

import weakref

import numpy as np
import pandas as pd
import pytest
from pyarrow.parquet import ParquetFile

from medtransfer.errors import DataError
from medtransfer.evaluation.predictions import (
    PREDICTION_COLUMNS,
    prediction_rows,
    read_predictions,
    validate_predictions,
    write_predictions,
)

ZONES = tuple(f"zone_{index}" for index in range(6))


def test_a_row_is_an_image_and_output_in_the_order_of_the_columns(fit_rows):
    table = fit_rows([[0.1, 0.2], [0.3, 0.4]], [[0, 1], [1, 0]], outputs=("covid", "other"))
    assert tuple(table.columns) == PREDICTION_COLUMNS
    assert list(table["output"]) == ["covid", "other"] * 2
    assert list(table["image_id"]) == ["ct/test0", "ct/test0", "ct/test1", "ct/test1"]
    assert list(table["score"]) == [0.1, 0.2, 0.3, 0.4]
    assert list(table["target"]) == [0, 1, 1, 0]


def test_labels_with_gaps_zones_and_values_of_one_fit_survive_a_file(fit_rows, tmp_path):
    findings = fit_rows(
        [[0.1, 0.2, 0.9]] * 2, [[0, np.nan, 1], [np.nan] * 3], outputs=("edema", "effusion", "pneumonia")
    )
    zones = fit_rows([np.arange(6) / 2] * 2, [[0, 1, 2, 3, np.nan, 1]] * 2, outputs=ZONES, kind="severity")
    value = fit_rows([-3.5, 120.0], [np.nan, 119.0], outputs=("age",), kind="value")
    table = pd.concat([findings, zones, value], ignore_index=True)
    write_predictions([table], tmp_path / "predictions.parquet")
    again = read_predictions(tmp_path / "predictions.parquet")
    pd.testing.assert_frame_equal(again, validate_predictions(table))
    assert again["target"].isna().sum() == 1 + 3 + 2 + 1
    assert again.groupby("kind")["output"].nunique().to_dict() == {"probability": 3, "severity": 6, "value": 1}


def test_a_prediction_under_an_intervention_stands_beside_the_one_without(fit_rows):
    plain, off = fit_rows([0.1], [0]), fit_rows([0.3], [0], intervention="inserted_off")
    table = validate_predictions(pd.concat([plain, off]))
    assert list(table["intervention"]) == ["", "inserted_off"]
    with pytest.raises(DataError, match="one row for each fit, data set, split, image, output and intervention"):
        validate_predictions(pd.concat([off, off]))


def test_a_missing_date_source_and_view_are_allowed(fit_rows):
    table = fit_rows([0.1], [0]).assign(date=None, source=None, view=None)
    checked = validate_predictions(table)
    assert checked["date"].isna().all()
    assert checked.loc[0, ["source", "view"]].tolist() == ["", ""]


def test_an_empty_patient_is_one_who_is_not_known(fit_rows):
    assert validate_predictions(fit_rows([0.1], [0]).assign(patient_id=None)).loc[0, "patient_id"] == ""


def test_an_empty_table_is_a_table(tmp_path):
    for parts in ([], [pd.DataFrame(columns=list(PREDICTION_COLUMNS))]):
        write_predictions(parts, tmp_path / "none.parquet")
        assert len(read_predictions(tmp_path / "none.parquet")) == 0


def test_parts_are_written_one_after_the_other_and_none_is_kept(fit_rows, tmp_path):
    made = []

    def parts():
        for seed, date in enumerate([None, pd.Timestamp("2020-03-01"), None, pd.Timestamp("2020-03-01 12:30")]):
            assert sum(part() is not None for part in made) <= 1
            part = fit_rows([0.1, 0.9], [0, 1], seed=seed).assign(date=date)
            made.append(weakref.ref(part))
            yield part

    path = tmp_path / "predictions.parquet"
    write_predictions(parts(), path)
    assert ParquetFile(path).num_row_groups == 4
    table = read_predictions(path)
    assert table["seed"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert table["date"].isna().tolist() == [True, True, False, False] * 2
    assert table["date"].iloc[-1] == pd.Timestamp("2020-03-01 12:30")


def test_parts_that_contradict_each_other_are_refused_by_the_reader(fit_rows, tmp_path):
    write_predictions([fit_rows([0.1], [0])] * 2, tmp_path / "twice.parquet")
    with pytest.raises(DataError, match=r"image_id of image ct/test0.*one row for each fit, data set, split"):
        read_predictions(tmp_path / "twice.parquet")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("score", np.nan, "score of image ct/test0, output covid, is .*expected a finite number"),
        ("score", 1.5, "score of image ct/test0, output covid, is .*1.5.*a probability between 0 and 1"),
        ("target", 2.0, "target of image ct/test0, output covid, is .*2.0.*expected 0, 1 or NaN"),
        ("target", np.inf, "expected a finite number, or NaN where not known"),
        ("split", "outer", "split of image ct/test0, output covid, is 'outer'; expected train, val or test"),
        ("kind", "logit", "is 'logit'; expected probability, severity or value"),
        ("condition", "", "condition of image ct/test0, output covid, is ''; expected a name"),
        ("score", "high", "expected numbers in score and target"),
        ("seed", np.nan, "whole numbers in seed"),
        ("seed", 0.5, "whole numbers in seed"),
        ("date", "spring", "dates in date"),
    ],
)
def test_a_wrong_value_is_named(fit_rows, column, value, message):
    table = fit_rows([0.1, 0.9], [0, 1]).astype({column: object})
    table.loc[0, column] = value
    with pytest.raises(DataError, match=message):
        validate_predictions(table)


def test_missing_and_unknown_columns_are_named(fit_rows):
    table = fit_rows([0.1], [0]).drop(columns="score").assign(logit=1.0)
    with pytest.raises(DataError, match=r"missing columns \['score'\], unknown columns \['logit'\]"):
        validate_predictions(table)


def test_an_image_may_not_occur_twice_in_a_fit(fit_rows):
    table = pd.concat([fit_rows([0.1], [0])] * 2)
    with pytest.raises(DataError, match=r"image_id of image ct/test0.*one row for each fit, data set, split"):
        validate_predictions(table)


def test_an_image_has_one_target_and_one_patient_in_every_fit(fit_rows):
    first, second = fit_rows([0.1], [0]), fit_rows([0.1], [1], seed=1)
    with pytest.raises(DataError, match="expected the same target in every fit"):
        validate_predictions(pd.concat([first, second]))
    moved = second.assign(target=0.0, patient_id="ct:other")
    with pytest.raises(DataError, match=r"patient_id of image ct/test0.*expected the same patient in every row"):
        validate_predictions(pd.concat([first, moved]))


def test_scores_of_another_shape_are_refused(images):
    fit = {"study": "s", "variant": "v", "condition": "c", "seed": 0}
    with pytest.raises(DataError, match=r"scores have shape \(3, 1\), expected \(2, 1\)"):
        prediction_rows(images(2), np.zeros((3, 1)), np.zeros((2, 1)), outputs=["covid"], kind="value", **fit)


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(DataError, match="there is no predictions table; run the predict stage first"):
        read_predictions(tmp_path / "absent.parquet")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"not a table")
    with pytest.raises(DataError, match=r"broken\.parquet: not a readable parquet file"):
        read_predictions(broken)


def test_a_refused_table_leaves_the_file_as_it_was(fit_rows, tmp_path):
    path = tmp_path / "predictions.parquet"
    write_predictions([fit_rows([0.1], [0])], path)
    before = path.read_bytes()
    with pytest.raises(DataError):
        write_predictions([fit_rows([0.1], [0], seed=1), fit_rows([0.1], [0]).assign(score=7.0)], path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_manifest_rows_with_a_repeated_index_keep_their_scores(images):
    rows = pd.concat([images(2, "val"), images(2, "test")])
    fit = {"study": "s", "variant": "v", "condition": "c", "seed": 0}
    table = prediction_rows(rows, [[1], [2], [3], [4]], np.zeros((4, 1)), outputs=["age"], kind="value", **fit)
    assert dict(zip(table["image_id"], table["score"], strict=True)) == {
        "ct/val0": 1,
        "ct/val1": 2,
        "ct/test0": 3,
        "ct/test1": 4,
    }
