import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from medtransfer.evaluation.binary import auroc, average_precision
from medtransfer.studies.truncated_transfer.report.example import (
    by_ranks,
    evenly_spaced,
    example,
    example_figure,
    example_table,
    mean_over_placements,
)

GOLDEN = json.loads((Path(__file__).parents[3] / "golden/auprc_example.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["CA", "CB"])
def test_evenly_spaced_and_worst_ranks_give_the_golden_areas(name):
    assert evenly_spaced(10, GOLDEN[name]["top"]) == GOLDEN[name]["evenly_spaced_ranks"]
    areas = example()[name]
    assert areas["evenly spaced ranks"] == pytest.approx(GOLDEN[name]["evenly_spaced"], abs=1e-9)
    assert areas["worst placement"] == pytest.approx(GOLDEN[name]["worst_placement"], abs=1e-9)


def test_the_mean_is_that_of_all_66_placements():
    mean = GOLDEN["CA"]["all_placements"]["mean"]
    assert example()["CA"]["mean over all placements"][:2] == pytest.approx(mean[:2], abs=1e-9)


def test_the_mean_in_closed_form_is_the_mean_of_every_placement():
    placed = [by_ranks(list(ranks), 20) for ranks in combinations(range(1, 8), 3)]
    slow = np.mean([(auroc(*one), average_precision(*one)) for one in placed], axis=0)
    assert mean_over_placements(3, 17, 7) == pytest.approx(slow, abs=1e-12)


def test_the_papers_pair_is_above_ours():
    rows = [[cell.main for cell in row] for row in example_table().rows]
    assert rows[0][1:] == ["the paper, one draw", "0.999", "0.990", "n/a"]
    assert rows[4][1:] == ["the paper, one draw", "0.991", "0.354", "n/a"]
    assert rows[6][1:] == ["mean over all placements", "0.990", "0.402", "—"]


def test_the_figure_names_both_classifiers():
    figure = example_figure()
    assert "classifier A" in figure.svg
    assert "classifier B" in figure.svg
