import pandas as pd
import pytest

from medtransfer.reporting.origin import (
    SHOWN_PAIRS,
    datasets_table,
    gate_tables,
    provenance_table,
    short,
    tree_state,
)


def test_splits_without_images_leave_a_dash(datasets):
    row = datasets_table({"ct": datasets["ct"]}).rows[0]
    assert [cell.main for cell in row[:6]] == ["ct", "drawn phantoms", "covid, noncovid", "300 / 150", "—", "120 / 60"]


def test_declared_overlaps_of_a_data_set_are_a_footnote(datasets):
    table = datasets_table({"ct": datasets["ct"] | {"known_overlaps": "two patients", "licence": ""}})
    assert table.notes == ("ct: two patients",)
    assert table.rows[0][7].main == "not stated"


def test_the_gate_shows_hits_declarations_and_recall(gate):
    hits, recall = gate_tables(gate)
    assert [cell.main for cell in hits.rows[0]] == ["ct", "ct", "near", "1"]
    assert "Declared overlap, ct: one pair of the official lists" in hits.notes
    assert [(name.main, share.main) for name, share in recall.rows][1] == ("jpeg", "0.970")


def test_many_pairs_are_cut_and_counted(gate):
    hits, _ = gate_tables(gate | {"pairs": gate["pairs"] * (SHOWN_PAIRS + 5), "declared": {}})
    assert len(hits.notes) == SHOWN_PAIRS + 2  # the bounds of the search, and how many more there are
    assert hits.notes[-1] == "… and 5 more pairs in gate.json"


def test_a_missing_commit_is_not_a_clean_tree():
    assert short(None).main == "—"
    assert (tree_state(None), tree_state(True), tree_state(False)) == ("not recorded", "uncommitted changes", "clean")


@pytest.mark.parametrize(
    ("seconds", "note"),
    [
        ([60.0, 120.0], "2 runs, together 3 minutes of fitting."),
        ([float("nan"), 120.0], "2 runs; 1 took 2 minutes of fitting, the others are not recorded."),
        ([float("nan")] * 2, "2 runs; the time of fitting is not recorded."),
    ],
)
def test_a_time_that_is_not_recorded_is_not_zero(seconds, note):
    names = ("name", "run_key", "git_commit", "git_dirty", "data", "params_fingerprint")
    fits = pd.DataFrame([dict.fromkeys(names, "a") | {"seconds": one} for one in seconds])
    assert provenance_table(fits).notes == (note,)
