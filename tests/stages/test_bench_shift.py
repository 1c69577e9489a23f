"""A tiny round of the committed benchmark: one fit, its own test split and another hospital."""

import importlib
import sys
from pathlib import Path

import pytest

from medtransfer.cli import run


@pytest.mark.slow
def test_shares_of_unlike_images_are_printed_for_both_sets(toy, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    benchmark = importlib.import_module("bench_shift")
    toy.add("ct_outside")
    toy.draw(counts=(8, 40, 8))  # as many validation images as a limit of distances needs
    fit = ["fit", "attentive_transfer"]
    for words in (["prepare", "ct"], ["prepare", "ct_outside"], [*fit, "start"], [*fit, "finetune"]):
        assert run([*words, *(["resnet18_attn1"] if words[0] == "fit" else [])]) == 0
    weights = "out/attentive_transfer/weights/finetune/resnet18_attn1/none/seed0"
    monkeypatch.setattr(sys, "argv", ["bench_shift", "ct", weights, "--others", "ct_outside"])
    benchmark.main()
    said = capsys.readouterr().out
    assert "8 training, 40 validation images" in said
    assert "| ct test | 8 |" in said
    assert "| ct_outside  | 24 |" in said
