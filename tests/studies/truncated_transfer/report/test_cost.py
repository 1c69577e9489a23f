import json

import numpy as np
import pytest

from medtransfer.studies.truncated_transfer.report.cost import COSTS, cost_figure, cost_table, pareto_front


def test_the_front_is_what_no_cheaper_point_beats():
    points = [(3, 0.9), (1, 0.5), (2, 0.7), (2, 0.6), (4, 0.9), (5, 0.95)]
    assert pareto_front(points) == [1, 2, 0, 5]


def test_equal_points_share_the_front():
    assert sorted(pareto_front([(1, 0.5), (1, 0.5), (2, 0.5)])) == [0, 1]


def test_the_front_agrees_with_the_definition_on_random_points():
    draw = np.random.default_rng(0)
    points = [(float(a), float(b)) for a, b in draw.integers(0, 8, (40, 2))]
    slow = {
        i
        for i, (cost, quality) in enumerate(points)
        if not any((c <= cost and q > quality) or (c < cost and q >= quality) for c, q in points)
    }
    assert set(pareto_front(points)) == slow


def test_the_table_marks_the_fronts_of_a_setting(study_results, costs):
    rows = study_results.rows()
    table = cost_table(study_results, rows, costs)
    quality = {
        r["variant"]: r["mean"]
        for r in rows
        if r["metric"] == "auprc" and r["condition"] == study_results.conditions[0].name
    }
    best = max(quality, key=quality.get)
    rows_of = dict(zip(study_results.config.variants, table.rows, strict=True))
    assert rows_of[best][6].detail == "front P M S L"
    assert [cell.main for cell in rows_of["densenet121_t1-transfer"][2:6]] == ["0.38", "103", "50", "2.0"]
    assert "one CPU" in table.intro


def test_a_network_that_was_not_measured_has_no_cost_and_no_place_on_a_front(study_results, costs):
    known = {name: cost for name, cost in costs["networks"].items() if name != "cbr_tiny"}
    row = cost_table(study_results, study_results.rows(), costs | {"networks": known}).rows[-1]
    assert [cell.main for cell in row[:6]] == ["CBR-Tiny", "RI", "—", "—", "—", "—"]
    assert {cell.detail for cell in row[6:]} == {""}


def test_the_figure_has_plain_numbers_at_its_logarithmic_ticks(study_results, costs):
    svg = cost_figure(study_results, study_results.rows(), costs).svg
    assert "mathdefault" not in svg
    for unit in COSTS.values():
        assert unit.title in svg


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_machine_is_named(study_results, costs, device):
    machine = costs["machine"] | {"device": device, "gpus": ["one GPU"]}
    text = cost_table(study_results, study_results.rows(), json.loads(json.dumps(costs | {"machine": machine}))).intro
    assert ("one GPU" in text) == (device == "cuda")
