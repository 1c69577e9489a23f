"""``medtransfer repro`` is ``dvc repro`` with the number of each stage; what it takes is said in one place."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from medtransfer.preloaded import GPUS
from medtransfer.stages.needs import COST, ENVIRONMENT_GB, HOURS, PIPELINE_GB
from medtransfer.stages.repro import Counter


@pytest.fixture
def pipeline(tmp_path):
    """Three stages of which the last fails until the file ``good`` is there."""
    stages = {
        "first": {"cmd": "echo 1 > a", "outs": ["a"]},
        "second": {"cmd": "echo 2 > b", "deps": ["a"], "outs": ["b"]},
        "third": {"cmd": "test -e good && echo 3 > c", "deps": ["b"], "outs": ["c"]},
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    subprocess.run(["dvc", "init", "-q", "--no-scm"], cwd=tmp_path, check=True)
    return tmp_path


def repro(folder, *targets):
    command = [sys.executable, "-m", "medtransfer", "repro", *targets]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_every_stage_has_its_number_and_a_failure_ends_with_2(pipeline):
    done = repro(pipeline)
    assert done.returncode == 2
    assert "stage 1 of 3 · Running stage 'first'" in done.stdout + done.stderr
    assert "stage 3 of 3 · Running stage 'third'" in done.stdout + done.stderr
    assert done.stderr.splitlines()[-1].startswith("medtransfer: repro: stopped")
    (pipeline / "good").touch()
    done = repro(pipeline)
    assert done.returncode == 0
    assert "stage 2 of 3 · Stage 'second' didn't change, skipping" in done.stdout + done.stderr
    assert (pipeline / "c").read_text() == "3\n"
    done = repro(pipeline, "second")
    assert "stage 2 of 2 · Stage 'second'" in done.stdout + done.stderr
    assert repro(pipeline, "absent").returncode == 2


ASK = """
import sys
from medtransfer.preloaded import run_elsewhere
sys.path.insert(0, "program")
if run_elsewhere() is None:
    print("here")
"""


@pytest.mark.skipif(any(Path(gpu).exists() for gpu in GPUS), reason="a child of a parent cannot use a GPU")
def test_stages_run_in_children_that_have_the_packages(tmp_path):
    package = tmp_path / "program" / "medtransfer"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("import sys\nprint('torch' in sys.modules)")
    (tmp_path / "ask.py").write_text(ASK)
    stages = {name: {"cmd": f"python ask.py > {name}", "outs": [name]} for name in ("first", "second")}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    subprocess.run(["dvc", "init", "-q", "--no-scm"], cwd=tmp_path, check=True)
    assert repro(tmp_path).returncode == 0
    assert {(tmp_path / name).read_text() for name in stages} == {"True\n"}


def test_other_lines_are_left_as_they_are():
    counter = Counter(["a", "b"])
    for message, arguments, said in (
        ("Running stage '%s':", ("b",), "stage 2 of 2 · Running stage 'b':"),
        ("Running stage '%s':", ("other",), "Running stage 'other':"),
        ("> %s", ("b",), "> b"),
        ("plain", (), "plain"),
    ):
        record = logging.LogRecord("dvc", logging.INFO, "", 0, message, arguments, None)
        assert counter.filter(record)
        assert record.getMessage() == said


def test_the_cost_is_that_of_the_front_page(checkout):
    text = (checkout / "README.md").read_text(encoding="utf-8")
    assert f"make repro    # {COST}" in text
    tour = (checkout / "docs" / "tour.md").read_text(encoding="utf-8")
    assert HOURS in tour
    assert f"about {ENVIRONMENT_GB + PIPELINE_GB:.0f} GB of disk" in tour


def test_make_says_the_cost_before_the_environment_is_made(checkout):
    planned = subprocess.run(
        ["make", "-n", "repro", "PY=python3"], cwd=checkout, capture_output=True, text=True, check=True
    ).stdout
    said = planned.index("from medtransfer.stages.needs import COST")
    assert said < planned.index("medtransfer repro")
    if "-m venv" in planned:
        assert said < planned.index("-m venv")
