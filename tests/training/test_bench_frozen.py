"""A tiny round of the committed benchmark; the whole is ``benchmarks/bench_frozen.py``."""

import importlib
from pathlib import Path


def test_a_step_on_kept_maps_is_the_cheaper_one(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    benchmark = importlib.import_module("bench_frozen")
    row = benchmark.compare("resnet18", 2, rounds=3, side=64)
    assert row["slow_s"] > row["fast_s"]
    assert row["ratio_of_columns"] > 1
