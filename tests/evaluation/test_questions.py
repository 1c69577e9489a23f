"""One question out of predictions of any origin."""

import pandas as pd
import pytest

from medtransfer.errors import ConfigError, DataError
from medtransfer.evaluation.predictions import prediction_rows
from medtransfer.evaluation.questions import one_question, read_any_predictions


@pytest.fixture
def table(images):
    def rows(variant, seed):
        names = {"study": "s", "variant": variant, "condition": "c", "seed": seed, "kind": "probability"}
        return prediction_rows(images(2), [[0.1, 0.9], [0.8, 0.2]], [[0, 1], [1, 0]], outputs=["a", "b"], **names)

    return pd.concat([rows("one", 0), rows("one", 1), rows("two", 0)], ignore_index=True)


def test_one_output_of_one_fit_is_selected(table):
    rows = one_question(table, {"variant": "one", "seed": 1, "output": "b"})
    assert rows["score"].tolist() == [0.9, 0.2]
    assert set(rows["seed"]) == {1}


def test_interventions_and_values_are_no_question(table):
    more = [
        table[table["variant"] == "two"].assign(**change) for change in ({"intervention": "off"}, {"kind": "value"})
    ]
    assert len(one_question(pd.concat([table, *more]), {"variant": "two", "output": "a"})) == 2


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({}, "variant: the table holds one, two, expected one; choose it with --variant"),
        ({"variant": "one", "seed": 7}, "seed 7: no probability of it in the table; there are 0, 1"),
        ({"variant": "two"}, "output: the table holds a, b, expected one; choose it with --output"),
    ],
)
def test_what_is_not_one_question_is_refused(chosen, message, table):
    with pytest.raises(ConfigError, match=message):
        one_question(table, chosen)


def test_two_studies_have_no_option(table):
    with pytest.raises(ConfigError, match="study: the table holds s, t, expected one; keep the rows of one"):
        one_question(pd.concat([table, table.assign(study="t")]), {})


def test_a_csv_table_needs_four_columns(tmp_path):
    file = tmp_path / "scores.csv"
    file.write_text("split,image_id,score,target\nval,1,0.2,0\ntest,2,0.7,1\ntest,3,0.1,\n", encoding="utf-8")
    rows = one_question(read_any_predictions(file), {})
    assert rows["score"].tolist() == [0.2, 0.7, 0.1]
    assert rows["image_id"].tolist() == ["1", "2", "3"]
    assert rows["target"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("split,image_id,score\ntest,1,0.2\n", "column target is missing, expected split, image_id, score, target"),
        ("split,image_id,score,target\ntest,1,high,0\n", "expected numbers in score and target"),
        ("split,image_id,score,target\ntest,1,1.2,0\n", "output positive, is "),
        ("split,image_id,score,target,seed\ntest,1,0.2,0,x\n", "expected numbers in score and target, whole numbers"),
        ("", "not a comma-separated table"),
    ],
)
def test_a_csv_table_that_is_none_is_refused_in_one_line(text, message, tmp_path):
    file = tmp_path / "scores.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as stop:
        read_any_predictions(file)
    assert "\n" not in str(stop.value)


def test_an_absent_table_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.csv: no such table"):
        read_any_predictions(tmp_path / "nothing.csv")
