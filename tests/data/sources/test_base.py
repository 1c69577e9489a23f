import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtransfer.data.sources.base import inside, read_lines, read_table, shared_patients, thin
from medtransfer.errors import DataError

PATIENTS = st.lists(st.sampled_from("abcdefgh"), max_size=30)


@given(PATIENTS, st.integers(1, 20))
def test_thinning_keeps_the_order_and_cuts_at_most_one_patient(patients, limit):
    rows = [{"patient_id": patient, "path": str(i)} for i, patient in enumerate(patients)]
    kept = thin(rows, limit)
    assert len(kept) == min(limit, len(rows))
    assert [int(row["path"]) for row in kept] == sorted(int(row["path"]) for row in kept)
    partly = {r["patient_id"] for r in kept} & {r["patient_id"] for r in rows if r not in kept}
    assert len(partly) <= 1


@given(PATIENTS, st.integers(1, 20))
def test_a_larger_limit_keeps_what_a_smaller_one_kept(patients, limit):
    rows = [{"patient_id": patient, "path": str(i)} for i, patient in enumerate(patients)]
    larger = thin(rows, limit + 1)
    assert all(row in larger for row in thin(rows, limit))


def test_without_a_limit_nothing_is_left_out():
    rows = [{"patient_id": "a"}] * 3
    assert thin(rows, None) is rows


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a/b.png", True), ("a..b.png", True), ("", False), ("/a", False), ("../a", False), ("a/../../b", False)],
)
def test_only_paths_below_the_folder_are_inside(path, expected):
    assert inside(path) is expected


def test_shared_patients_are_counted_and_the_first_ten_named():
    rows = [{"patient_id": f"p{i:02}", "split": split} for i in range(12) for split in ("train", "test")]
    rows.append({"patient_id": "alone", "split": "val"})
    text = shared_patients(rows)
    assert text.startswith("12 of 13 patients are in more than one official split: p00, ")
    assert text.endswith("p09, …")
    assert shared_patients(rows[-1:]) == ""


def test_lines_keep_their_number_when_blank_ones_are_dropped(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa b\r\n\r\n c\xff\n")
    assert read_lines(tmp_path / "list.txt") == [(1, "a b"), (3, "c\ufffd")]


def test_a_table_keeps_quoted_commas_and_line_breaks_and_counts_records(tmp_path):
    (tmp_path / "t.csv").write_text('a,b\n"x, y\nz",1\nshort\n')
    assert read_table(tmp_path / "t.csv", ("a",)) == [(2, {"a": "x, y\nz", "b": "1"}), (3, {"a": "short", "b": ""})]


def test_what_is_no_table_is_an_error(tmp_path):
    (tmp_path / "t.csv").write_text("a\n" + "x" * 200_000)
    with pytest.raises(DataError, match=r"t\.csv: not a comma-separated table"):
        read_table(tmp_path / "t.csv", ("a",))
