"""``summary`` says whether metrics are those of the last commit."""

import json
import subprocess

import pytest

from medtransfer.stages.summary import TOLERANCE, compared

COMMIT = ("-c", "user.name=a", "-c", "user.email=b", "commit", "-qm", "c")
ROW = {"condition": "none", "auroc": 0.7, "images": 9}


@pytest.fixture
def checkout(tmp_path):
    """A git checkout with one row of metrics in its only commit, in a folder below the root as in a workspace."""
    write(tmp_path / "work", ROW)
    for words in (["init", "-q"], ["add", "."], COMMIT):
        git(tmp_path, *words)
    return tmp_path / "work"


def git(folder, *words):
    subprocess.run(["git", "-C", folder, *words], check=True)


def write(root, row, name="a"):
    file = root / f"metrics/study/model/{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(row), encoding="utf-8")


def test_metrics_within_the_tolerance_are_reproduced_and_dvc_lock_is_explained(checkout):
    said = compared(checkout)
    assert said == f"reproduced within tolerance: 1 rows of metrics, largest difference 0.000 (at most {TOLERANCE})"
    write(checkout, ROW | {"auroc": 0.69})
    assert "largest difference 0.010" in compared(checkout)
    assert "dvc.lock changes then" in compared(checkout)


@pytest.mark.parametrize("change", [{"auroc": 0.6}, {"condition": "stl_n"}, {"images": 10}, {"auroc": None}])
def test_another_value_is_a_line_with_both(checkout, change):
    write(checkout, ROW | change)
    ((key, value),) = change.items()
    assert f"metrics/study/model/a.json: {key}: {value}, committed {ROW[key]}" in compared(checkout)


@pytest.mark.parametrize(
    ("committed", "now", "said"),
    [
        ("AMD EPYC, bf16", "Intel Xeon, fp32", "trained on Intel Xeon, fp32, committed: AMD EPYC, bf16;"),
        ("AMD EPYC, bf16", "AMD EPYC, bf16", "both trained on AMD EPYC, bf16; on one kind of CPU"),
        ("", "AMD EPYC, bf16", "of which one side does not say where it was trained"),
    ],
)
def test_rows_that_differ_are_told_apart_by_where_they_were_trained(checkout, committed, now, said):
    write(checkout, ROW | {"trained_on": committed})
    git(checkout, "add", ".")
    git(checkout, *COMMIT)
    write(checkout, ROW | {"trained_on": now})
    assert compared(checkout).startswith("reproduced within tolerance")
    write(checkout, ROW | {"trained_on": now, "auroc": 0.5})
    head, cause, *lines = compared(checkout).splitlines()
    assert head == "metrics differ from the committed ones:"
    assert cause.startswith("  1 row, ")
    assert said in cause
    assert lines == ["  metrics/study/model/a.json: auroc: 0.5, committed 0.7"]


def test_rows_of_one_side_are_named(checkout):
    write(checkout, ROW, "b")
    (checkout / "metrics/study/model/a.json").unlink()
    said = compared(checkout)
    assert "b.json: not in the commit" in said
    assert "a.json: in the commit alone" in said


def test_without_metrics_or_commit_it_says_so(tmp_path):
    assert compared(tmp_path) == "no metrics yet; run: dvc repro"
    write(tmp_path, ROW)
    assert compared(tmp_path) == "metrics: no commit to compare with"
