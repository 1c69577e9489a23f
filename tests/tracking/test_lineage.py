"""Lineage says where a result comes from and nothing about who or on which host."""

import getpass
import json
import socket
import subprocess

import pytest

from medtransfer.errors import TrackingError
from medtransfer.tracking import collect_lineage
from medtransfer.tracking.lineage import git_state


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_commit_and_changes_are_seen(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "a.txt").write_text("1")
    git(tmp_path, "add", "a.txt")
    git(tmp_path, "commit", "-m", "one")
    clean = git_state(tmp_path)
    (tmp_path / "b.txt").write_text("untracked")
    assert git_state(tmp_path) == clean
    assert len(clean["git_commit"]) == 40
    assert clean["git_dirty"] is False
    (tmp_path / "a.txt").write_text("2")
    assert git_state(tmp_path) == clean | {"git_dirty": True}


def test_what_the_pipeline_writes_while_it_runs_is_no_change_by_hand(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "metrics").mkdir()
    (tmp_path / "sub").mkdir()
    files = [tmp_path / name for name in ("dvc.lock", "metrics/a.json", "sub/code.py")]
    for file in files:
        file.write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    for file in files[:2]:
        file.write_text("2")
    assert git_state(tmp_path / "sub")["git_dirty"] is False
    files[2].write_text("2")
    assert git_state(tmp_path / "sub")["git_dirty"] is True


def test_it_works_outside_git(tmp_path):
    assert git_state(tmp_path) == {"git_commit": None, "git_dirty": None}


def test_data_hashes_come_from_pointers_and_locks(tmp_path):
    (tmp_path / "data.dvc").write_text("outs:\n- md5: abc.dir\n  path: data\n")
    (tmp_path / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  a:\n    cmd: x\n    outs:\n    - {path: out/a, md5: one}\n    - {path: out/b}\n"
    )
    assert collect_lineage(["data.dvc", "dvc.lock"], root=tmp_path)["data"] == {"data": "abc.dir", "out/a": "one"}


@pytest.mark.parametrize("content", [None, "outs: [", "just text", "outs:\n- md5: x\n"])
def test_an_unreadable_pointer_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "data.dvc").write_text(content)
    with pytest.raises(TrackingError, match=r"data\.dvc: not a readable DVC pointer"):
        collect_lineage(["data.dvc"], root=tmp_path)


def test_no_host_and_no_user_is_named(tmp_path):
    lineage = collect_lineage(root=tmp_path)
    words = json.dumps(lineage).replace('"', " ").split()
    assert socket.gethostname() not in words
    assert getpass.getuser() not in words
    assert lineage["versions"]["torch"]
    assert lineage["machine"]["cores"] >= 1
