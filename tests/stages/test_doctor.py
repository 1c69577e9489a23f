"""``doctor`` says one line per thing, and ends with 2 where something keeps the pipeline from running."""

import os
import sqlite3
from importlib import metadata

import pytest

from medtransfer.cli import run
from medtransfer.stages import doctor
from medtransfer.stages.doctor import differences


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def levels(findings):
    return [finding.level for finding in findings]


def test_the_checkout_is_fit_or_warned_of(checkout, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("DVC_ROOT", str(checkout))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    assert run(["doctor"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "warn"}
    assert [line for line in lines if "git          a checkout" in line]
    assert not list(tmp_path.iterdir())


def test_a_folder_without_git_fails_with_a_remedy(project, monkeypatch, capsys):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    assert run(["doctor"]) == 2
    said = capsys.readouterr().err
    assert "fail  git" in said
    assert "git clone the project" in said
    assert said.splitlines()[-1] == "medtransfer: doctor: git: not fit to run; do what the lines with fail say"


@pytest.mark.parametrize(
    ("chosen", "speed", "level", "said"),
    [
        (True, 1.9, "ok", "bf16 by default: products in bf16 are 1.9 times"),
        (False, 0.5, "ok", "fp32 by default: products in bf16 are 0.5 times"),
        (True, 0.5, "warn", "try hardware.precision fp32"),
        (False, 1.9, "warn", "try hardware.precision bf16"),
        (False, 1.1, "ok", "fp32 by default"),
    ],
)
def test_the_slower_precision_is_warned_of(tmp_path, monkeypatch, chosen, speed, level, said):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr("medtransfer.training.engine.fast_bf16", lambda: chosen)
    monkeypatch.setattr(doctor, "bf16_speed", lambda: speed)
    finding = next(doctor.check_cpu(tmp_path))
    assert (finding.level, said in str(finding)) == (level, True)


def test_products_are_timed_in_both_precisions():
    assert 0.01 < doctor.bf16_speed(rounds=1) < 100


def test_packages_are_compared_with_the_lock():
    lock = "\n".join(
        (
            f"numpy=={metadata.version('numpy')} \\",
            "    --hash=sha256:0",
            "pandas==0.0.1 \\",
            "no-such-package==1.0",
            "another-absent==1.0 ; python_version < '3' \\",
        )
    )
    absent, other = differences(lock)
    assert absent == ["no-such-package"]
    assert other == [f"pandas {metadata.version('pandas')} (==0.0.1)"]


def test_absent_packages_fail_and_others_are_warned_of(tmp_path):
    (tmp_path / doctor.LOCK).write_text("no-such-package==1.0\npandas==0.0.1\n", encoding="utf-8")
    found = list(doctor.check_environment(tmp_path))
    assert levels(found) == ["fail", "warn"]
    assert str(found[0]).endswith("absent: no-such-package; run: make setup")


def test_a_full_disk_fails_before_a_first_run_alone(project, monkeypatch):
    usage = os.statvfs(project)
    assert usage.f_bavail
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: type("Usage", (), {"free": 1e9}))
    assert levels(doctor.check_disk(project)) == ["fail"]
    (project / "out").mkdir()
    assert levels(doctor.check_disk(project)) == ["warn"]


def test_the_store_is_looked_at_and_not_made(project):
    assert [str(found) for found in doctor.check_store(project)] == [
        "ok    store        sqlite:///mlflow.db: not made yet; the first run makes it"
    ]
    assert not list(project.iterdir())


def test_a_half_made_store_is_said_a_damaged_one_fails_and_both_are_left_as_they_are(project):
    with sqlite3.connect(project / "mlflow.db") as store:
        store.execute("CREATE TABLE alembic_version (version_num TEXT)")
    store.close()
    (found,) = doctor.check_store(project)
    assert (found.level, "the next run moves it aside" in found.found) == ("ok", True)
    assert [file.name for file in project.iterdir()] == ["mlflow.db"]
    (project / "mlflow.db").write_bytes(b"no database at all" * 100)
    (found,) = doctor.check_store(project)
    assert (found.level, "is damaged" in found.found) == ("fail", True)


def test_a_server_that_is_down_fails(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (found,) = doctor.check_store(project)
    assert (found.level, "start the server" in found.found) == ("fail", True)
