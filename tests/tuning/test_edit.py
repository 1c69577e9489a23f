"""Adoption changes the lines of the values and no other character of the file."""

import difflib
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from medtransfer.config import flatten
from medtransfer.tuning.edit import with_values
from medtransfer.tuning.notes import Note, notes_in
from medtransfer.tuning.space import lay_over

NOTE = Note("mine", 3, 12)
SHIPPED = (Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8")
NUMBERS = [
    key for key, value in flatten(yaml.safe_load(SHIPPED)).items() if isinstance(value, float) and key[:2] != "tu"
]


def changed(before, after):
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]


def test_a_number_in_a_flow_mapping():
    after = with_values(SHIPPED, {"attentive_transfer.sstl_m.train.optimizer.lr": 1e-5}, NOTE)
    assert changed(SHIPPED, after) == [
        "-      optimizer: {name: sgd, lr: 0.02}",
        "+      optimizer: {name: sgd, lr: 1.0e-05}  # tuning.mine trial 3 of 12",
    ]
    assert yaml.safe_load(after)["attentive_transfer"]["sstl_m"]["train"]["optimizer"]["lr"] == 1e-5


def test_a_key_that_only_had_a_default_is_added_where_it_belongs():
    after = with_values(SHIPPED, {"attentive_transfer.sstl_m.method.alpha1": 0.25}, NOTE)
    assert changed(SHIPPED, after) == [
        "-    method: {name: multiscale, queue: 128}",
        "+    method: {name: multiscale, queue: 128, alpha1: 0.25}  # tuning.mine trial 3 of 12",
    ]
    after = with_values(SHIPPED, {"attentive_transfer.sstl_m.train.validate_every": 2}, NOTE)
    assert changed(SHIPPED, after) == ["+      validate_every: 2  # tuning.mine trial 3 of 12"]


def test_a_list_keeps_the_lines_and_comments_of_what_stays():
    kept = ["cbr_tiny_w32_same-random", "new-random"]
    after = with_values(SHIPPED, {"truncated_transfer.variants": kept}, NOTE)
    added = [line for line in changed(SHIPPED, after) if line[0] == "+"]
    assert added == ["+    - new-random  # tuning.mine trial 3 of 12"]
    assert "    - cbr_tiny_w32_same-random     # without padding it needs images of 91 pixels\n" in after


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ("a: 1  # why\n", 2, "a: 2  # why; tuning.mine trial 3 of 12\n"),
        ("a: 1  # why; tuning.mine trial 1 of 4\n", 2, "a: 2  # why; tuning.mine trial 3 of 12\n"),
        ("a: 1", None, "a: null  # tuning.mine trial 3 of 12"),
        ("a:\n  - 1  # one\n  - 2  # two\nb: 3\n", [1], "a:\n  - 1  # one; tuning.mine trial 3 of 12\nb: 3\n"),
        ("a: [1, 2]\n", [], "a: []  # tuning.mine trial 3 of 12\n"),
        ('a: "x # y"\n', "n", "a: n  # tuning.mine trial 3 of 12\n"),
    ],
)
def test_forms_of_a_value(before, value, after):
    assert with_values(before, {"a": value}, NOTE) == after


def test_a_value_that_is_there_already_changes_nothing():
    assert with_values(SHIPPED, {"attentive_transfer.sstl_m.train.optimizer.lr": 0.02}, NOTE) == SHIPPED


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.sampled_from(NUMBERS), st.floats(1e-12, 1e3), min_size=1, max_size=4))
def test_any_numbers_of_the_shipped_file_are_exact_and_alone(values):
    after = with_values(SHIPPED, values, NOTE)
    assert yaml.safe_load(after) == lay_over(yaml.safe_load(SHIPPED), values)
    assert len(after.splitlines()) == len(SHIPPED.splitlines())
    assert len(changed(SHIPPED, after)) <= 2 * len(values)
    assert notes_in(after) in ([NOTE], [])
