"""A tiny round of the committed benchmark; the whole is ``benchmarks/bench_serving.py``."""

import importlib
import json
from pathlib import Path

import pytest

from medtransfer.models.classifier import NetworkConfig

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_both_servers_answer_and_fifty_at_once_get_200_or_503(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.chdir(tmp_path)
    bench, harness = (importlib.import_module(name) for name in ("bench_serving", "harness"))
    store = bench.make_store(tmp_path, runs=1, network=NetworkConfig(backbone="test_resnet"))
    ui = bench.interface(store, tmp_path, rounds=1, what="1 run")
    assert ui["page_s"] <= ui["list_s"]
    served = bench.served(tmp_path, 360, rounds=1)
    assert (served["answered"] + served["told_to_come_back"], served["other"]) == (50, 0)
    assert served["answered"] >= 32
    assert served["peak_mb"] >= served["before_mb"] > 100
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    written = json.loads(harness.record("serving", [ui, served], goal=bench.GOAL).read_text())
    assert len(written["commit"].split()[0]) >= 7
