"""A small version of the committed benchmark; the whole is ``benchmarks/marker_maps.py``."""

import importlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2] / "benchmarks"
KIND = "convolutional, with attention layers"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("marker_maps")


def test_positives_alone_carry_the_marker_and_more_of_them_as_the_share_grows(benchmark):
    cases = benchmark.pool(0, 24, 0)
    changed = [(benchmark.planted(cases, share, 0) != cases.images).any((1, 2)) for share in benchmark.SHARES]
    assert [round(one.sum() / cases.positive.sum(), 1) for one in changed] == [0, 0.2, 0.5, 0.8, 1]
    for fewer, more in pairwise(changed):
        assert not (fewer & ~more).any()
        assert not (more & ~cases.positive).any()


@pytest.mark.slow
def test_a_network_that_uses_the_marker_is_found_by_its_map(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "TRAIN", 120)
    without, within = (benchmark.measured(KIND, share, 0) for share in (0.0, 1.0))
    assert {row["explainer"] for row in within} == {"grad_cam", "saliency", "smoothed_saliency", "attention"}
    assert within[0]["reliance"] > 0.3 > abs(without[0]["reliance"])
    saliency = [
        next(row["sensitivity"] for row in rows if row["explainer"] == "saliency") for rows in (without, within)
    ]
    assert saliency[0] < 1 < saliency[1]


def test_the_committed_table_is_that_of_the_committed_lines(benchmark):
    rows = benchmark.read(ROOT / "results" / "marker_maps.csv")
    assert (ROOT / "results" / "marker_maps.md").read_text(encoding="utf-8") == benchmark.table(rows)
    assert {float(row["share"]) for row in rows} == set(benchmark.SHARES)
    reliance = [np.mean([float(r["reliance"]) for r in rows if float(r["share"]) == s]) for s in benchmark.SHARES]
    assert reliance == sorted(reliance)
