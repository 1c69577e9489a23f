"""Unfinished files of killed processes are deleted before new work; those of living processes are not."""

import subprocess
import sys

import pytest

from medtransfer.files import new_folder, remove_leftovers, write_atomic
from medtransfer.processes import this_process
from medtransfer.stages import leftovers

KILLED = """
import os, signal, sys
from pathlib import Path
from medtransfer.files import new_folder, write_atomic
def die(path):
    path.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "file":
    write_atomic(Path("out/a.json"), die)
with new_folder(Path("out/datasets/ct")) as folder:
    die(folder / "images.npy")
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for kind in ("file", "folder"):
        subprocess.run([sys.executable, "-c", KILLED, kind], check=False)
    return tmp_path


def left(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.part"))


def test_what_killed_processes_left_is_deleted_and_nothing_else(here, capsys):
    assert len(left(here)) == 2
    foreign = here / "out" / ".a.json.000000-1-1.part", here / "out" / ".mine.part", here / "out" / "b.part"
    for path in foreign:
        path.write_text("of another machine, or of another program")
    leftovers.clear()
    assert left(here) == sorted(path.relative_to(here).as_posix() for path in foreign)
    assert capsys.readouterr().err.count("unfinished, its process ended; deleted") == 2


def test_work_in_progress_stays(here):
    with new_folder(here / "out" / "datasets" / "ct") as folder:
        (folder / "images.npy").write_text("whole")
        write_atomic(here / "out" / "a.json", lambda staged: (staged.write_text("x"), remove_leftovers(here)))
    assert (here / "out" / "a.json").read_text() == "x"
    assert (here / "out" / "datasets" / "ct" / "images.npy").read_text() == "whole"
    assert left(here) == []


def test_a_mark_names_no_host(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "secret")
    assert "secret" not in this_process()


def test_a_file_that_is_written_again_leaves_nothing_of_a_killed_write(here):
    write_atomic(here / "out/a.json", lambda path: path.write_text("whole"))
    assert left(here) == [path for path in left(here) if "datasets" in path]
    with new_folder(here / "out/datasets/ct"):
        pass
    assert left(here) == []
