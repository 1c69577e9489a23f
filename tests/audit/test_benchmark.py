"""A small version of the committed benchmark; the whole is ``benchmarks/simulate_audit.py``."""

import importlib
from pathlib import Path

import pytest

from medtransfer.audit.verdicts import ORDER

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "audit.csv"


@pytest.fixture
def simulation(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("simulate_audit")


@pytest.mark.slow
def test_a_network_trained_on_marked_phantoms_is_caught_and_one_on_others_is_not(simulation, monkeypatch):
    monkeypatch.setattr(simulation, "TRAIN", 160)
    monkeypatch.setattr(simulation, "AUDITED", 120)
    free, caught = (simulation.audited(simulation.SETTINGS[0], strength, 1) for strength in (0.0, 1.0))
    assert not {free["data"], free["model"]} & set(ORDER[1:])
    assert (caught["data"], caught["model"]) == ("confounded", "confounded")


def test_a_run_that_was_cut_off_goes_on_where_it_ended(simulation, monkeypatch, tmp_path):
    asked = []

    def audited(setting, strength, seed):
        asked.append((strength, seed))
        return dict.fromkeys(simulation.COLUMNS, "x") | {"setting": setting.name, "correlation": strength, "seed": seed}

    monkeypatch.setattr(simulation, "audited", audited)
    file = tmp_path / "audit.csv"
    simulation.simulate(file, 1)
    simulation.simulate(file, 2)
    expected = 2 * sum(len(setting.strengths) for setting in simulation.SETTINGS)
    assert len(asked) == len(set(asked)) == len(simulation.read(file)) == expected


def test_the_committed_results_keep_the_promises_of_the_audit(simulation):
    """Median verdicts never fall; at 0.8 and above 90 % are alarms, without a correlation at most 5 % are."""
    rows = simulation.read(RESULTS)
    for setting in simulation.SETTINGS[:-1]:
        for half in ("data", "model"):
            medians = []
            for strength in setting.strengths:
                found = [r[half] for r in rows if r["setting"] == setting.name and float(r["correlation"]) == strength]
                alarms = sum(one in ORDER[1:] for one in found)
                assert strength < 0.8 or alarms >= 0.9 * len(found)
                assert strength > 0 or alarms <= 0.05 * len(found)
                medians.append(ORDER.index(simulation.median(found)))
            assert medians == sorted(medians)
