"""A small version of the simulation that chose the intervals; the whole is ``benchmarks/simulate_coverage.py``."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from medtransfer.evaluation.metrics import METRICS
from medtransfer.evaluation.weighted import Weights, class_weights

REPETITIONS = 200
LOW, HIGH = 0.92 - 2.5 * (0.08 * 0.92 / REPETITIONS) ** 0.5, 0.98 + 2.5 * (0.02 * 0.98 / REPETITIONS) ** 0.5


@pytest.fixture
def simulation(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("simulate_coverage")


def test_the_simulated_metrics_are_the_metrics(simulation, monkeypatch):
    made = []
    monkeypatch.setattr(simulation, "Network", lambda *parts, weighted: made.append(parts))
    simulation.study(np.random.default_rng(0), 20, 30, (0.8, 0.75), weighted=True)
    monkeypatch.undo()
    (target, patient, score, threshold), _ = made
    counts = np.random.default_rng(1).integers(0, 3, (50, 8)).astype(float)
    values = simulation.Network(target, patient, score, threshold, weighted=True).metrics(counts, influence=False)
    weights = Weights(counts, patient)
    for name in ("auroc", "auprc", "accuracy", "f1", "sensitivity"):
        expected = METRICS[name].prepare(target, score, threshold=threshold)(weights)
        np.testing.assert_allclose(values[name][0], expected)
    balanced = METRICS["auprc"].prepare(target, score)(class_weights(weights, target, negatives=16))
    np.testing.assert_allclose(values[simulation.AT_16][0], balanced)


@pytest.mark.slow
@pytest.mark.parametrize(("balance", "auroc"), [(1, 0.76), (1, 0.97), (16, 0.6), (16, 0.97)])
def test_intervals_in_use_cover_the_truth_with_twenty_patients_of_each_class(simulation, balance, auroc):
    rng, hits = np.random.default_rng([balance, round(100 * auroc)]), {}
    for _ in range(REPETITIONS):
        for (metric, of, method), hit, _ in simulation.covered((balance, 20, auroc), rng, studentised=False):
            if method == "in use" and metric != simulation.AT_16:
                hits.setdefault((metric, of), []).append(hit)
    coverage = {key: np.mean(one) for key, one in hits.items()}
    assert len(coverage) == 10
    assert {key: share for key, share in coverage.items() if not LOW <= share <= HIGH} == {}
