"""A target is recognised from the table and confirmed by the user, never guessed."""

import pytest

from medtransfer.comparing.question import Asked, confirmed, recognise
from medtransfer.errors import ConfigError, DataError

TABLE = {
    "label": ["a", "b"] * 10,
    "y_x": ["0", "1"] * 10,
    "y_z": ["1", "", "0", "1"] * 5,
    "grade": ["0", "1", "2", "3"] * 5,
    "age": [str(20.5 + n) for n in range(20)],
    "alike": ["same"] * 20,
    "id": [f"name {n}" for n in range(20)],
    "blank": [""] * 20,
}


def tasks(*columns, **said):
    return [question.task for question in recognise(TABLE, Asked(columns, **said), source="my.csv")]


def test_kinds_of_targets():
    assert tasks("label") == ["binary"]
    assert tasks("y_x", "y_z") == ["multilabel"]
    assert tasks("age") == ["regression"]
    assert tasks("grade") == ["multiclass", "regression"]  # classes or a grade: only the user knows
    assert tasks("grade", task="regression") == ["regression"]


def test_findings_and_values_lose_their_mark():
    (question,) = recognise(TABLE, Asked(("y_x", "y_z")), source="my.csv")
    assert question.outputs == ("x", "z")
    assert question.metric == "auroc"


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (("alike",), "column alike: a single class, 'same', expected two at least"),
        (("id",), "column id: 20 different texts in 20 rows"),
        (("blank",), "column blank: blank in every row"),
        (("label", "y_x"), "column label: 'a', expected 0, 1 or nothing"),
    ],
)
def test_a_column_that_is_no_target(columns, text):
    with pytest.raises(DataError, match=text):
        tasks(*columns)


def test_a_table_without_a_target_names_its_columns():
    with pytest.raises(DataError, match=r"no column could be a target.*\(columns: id, age\)"):
        recognise({"id": ["1"], "age": ["2"]}, Asked(), source="my.csv")


def test_several_possible_targets_are_asked_about():
    with pytest.raises(ConfigError, match=r"several columns could be the target \(label, y_x, y_z\)"):
        recognise(TABLE, Asked(), source="my.csv")


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"columns": ("labl",)}, "--target labl: not a column of my.csv; there are label"),
        ({"columns": ("label",), "task": "regression"}, "--task regression: label of my.csv can only be binary"),
        ({"columns": ("label",), "positive": "c"}, "--positive c: expected one of two classes; my.csv has a, b"),
    ],
)
def test_options_that_do_not_fit(said, text):
    with pytest.raises(ConfigError, match=text):
        recognise(TABLE, Asked(**said), source="my.csv")


def test_without_anybody_to_ask_the_options_are_named():
    found = recognise(TABLE, Asked(("label",)), source="my.csv")
    with pytest.raises(ConfigError, match=r"not confirmed.*--task binary --target label --positive b"):
        confirmed(found, Asked(("label",)))
    with pytest.raises(ConfigError, match="not confirmed"):  # which class is looked for is part of the question
        confirmed(found, Asked(("label",), task="binary"))
    said = Asked(("label",), task="binary", positive="a")
    assert confirmed(recognise(TABLE, said, source="my.csv"), said).positive == "a"


def test_a_person_is_asked_about_one_possibility_after_the_other():
    found, answers = recognise(TABLE, Asked(("grade",)), source="my.csv"), iter(["n", "y"])
    assert confirmed(found, Asked(("grade",)), ask=lambda text: next(answers)).task == "regression"
    with pytest.raises(ConfigError, match="was not confirmed"):
        confirmed(found, Asked(("grade",)), ask=lambda text: "n")
