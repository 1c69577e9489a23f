"""Figures of a search: labels that can be read."""

import re
from pathlib import Path

import pytest
import yaml

from medtransfer.params import parse_params
from medtransfer.reporting.drawing import svg
from medtransfer.tuning.figures import drawings, key_end
from medtransfer.tuning.results import SearchResult, TrialRecord

SHIPPED = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def figures():
    """Texts of every figure of a search over a choice and a learning rate, with two objectives."""
    config = parse_params(yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))).search("cut")
    variants, rate = config.space
    choices = config.space[variants].choices
    trials = tuple(
        TrialRecord(
            number=number,
            state="COMPLETE",
            values={variants: choices[number % 2], rate: 0.0002 * (number + 1)},
            objectives=(0.8 + 0.01 * number, 2e9 + 1e8 * number),
        )
        for number in range(4)
    )
    result = SearchResult(
        name="cut", config=config, profile="sample", space_hash="0", base={}, data={}, run_key="", trials=trials
    )
    return {
        drawing.key: re.findall(r"<text[^>]*>([^<]*)</text>", svg(drawing.draw, drawing.key, height=drawing.height))
        for drawing in drawings(result)
    }


def test_no_label_is_a_formula(figures):
    assert "slice" in figures
    assert not [text for texts in figures.values() for text in texts if "$" in text or "\\" in text]


def test_a_logarithmic_axis_names_its_ends(figures):
    assert {"0.0001", "0.003"} <= set(figures["slice"])


def test_trials_are_whole_numbers(figures):
    numbers = [text for text in figures["history"] if re.fullmatch(r"[0-9.]+", text)]
    assert {"0", "1", "2", "3"} <= set(numbers)
    assert not {"0.5", "1.5"} & set(numbers)


def test_keys_are_named_without_their_study():
    assert key_end("truncated_transfer.variants") == "variants"
    assert key_end("attentive_transfer.stl_n.train.optimizer.lr") == "stl_n lr"
    assert key_end("val/auroc.x") == "val/auroc.x"
