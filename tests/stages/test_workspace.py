"""``workspace`` makes a project of its own; ``data add`` brings a tree in under datasets/ with a pointer."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import yaml
from PIL import Image

from medtransfer.cli import run
from medtransfer.params import parse_params
from medtransfer.stages.workspace import _point_up


def digests(folder):
    files = (p for p in folder.rglob("*") if p.is_file() and "workspaces" not in p.parts)
    return {p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.slow
def test_a_workspace_leaves_the_sample_alone_and_is_complete(checkout_copy, capsys):
    before = digests(checkout_copy)
    assert run(["workspace", "mine", "--profile", "paper"]) == 0
    assert "next: cd workspaces/mine && dvc repro report@attentive_transfer\n" in capsys.readouterr().out
    assert digests(checkout_copy) == before
    made = checkout_copy / "workspaces" / "mine"
    params = parse_params(yaml.safe_load((made / "params.yaml").read_text(encoding="utf-8")))
    assert params.profile == "paper"
    assert str(params.dataset("ct").source.root) == "../../datasets/covid-ct"
    assert str(params.dataset("ct").pointer) == "../../datasets/covid-ct.dvc"
    stages = yaml.safe_load((made / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert stages["code"]["deps"] == ["../../src/medtransfer"]
    assert (made / ".dvc").is_dir()
    assert run(["workspace", "mine", "--profile", "paper"]) == 2
    assert "workspaces/mine: exists already" in capsys.readouterr().err


def test_weights_that_two_sections_share_by_a_yaml_alias_move_up_once():
    tree = yaml.safe_load("datasets: {}\na: {start: &x {kind: file, path: weights/x}}\nb: {start: *x}")
    _point_up(tree)
    assert tree["a"]["start"]["path"] == tree["b"]["start"]["path"] == "../../weights/x"


def test_weights_of_an_earlier_stage_are_those_of_the_workspace_itself():
    starts = {name: {"kind": "file", "path": path} for name, path in (("own", "out/a/seed0"), ("ready", "weights/b"))}
    tree = {"datasets": {}, "study": starts}
    _point_up(tree)
    assert [start["path"] for start in tree["study"].values()] == ["out/a/seed0", "../../weights/b"]


def test_a_workspace_of_an_unknown_profile_is_not_begun(checkout_copy, capsys):
    assert run(["workspace", "mine", "--profile", "fast"]) == 2
    assert "profile 'fast': there is no such file in profiles/; choose one of paper" in capsys.readouterr().err
    assert not (checkout_copy / "workspaces").exists()


@pytest.mark.parametrize("name", ["../mine", "/tmp/mine", "deep/mine", "mine/"])
def test_a_workspace_stands_below_workspaces_and_nowhere_else(checkout_copy, capsys, name):
    assert run(["workspace", name, "--profile", "paper"]) == 2
    assert "not a plain name, expected letters" in capsys.readouterr().err
    assert not (checkout_copy / "workspaces").exists()


@pytest.mark.slow
def test_an_added_data_set_has_a_pointer_and_a_report(toy, capsys):
    for label in ("a", "b"):
        (toy.folder / "origin" / label).mkdir(parents=True)
        for number in range(4):
            grey = np.random.default_rng([number, ord(label)]).integers(0, 256, (16, 16), dtype=np.uint8)
            Image.fromarray(grey).save(toy.folder / "origin" / label / f"{number}.png")
    (toy.folder / "origin" / "a" / "torn.png").write_bytes(b"no image")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=toy.folder, check=True)
    assert run(["data", "add", "imagefolder", "--from", "origin", "--name", "toy"]) == 0
    said = capsys.readouterr().err
    assert "8 images of 8 patients" in said
    assert "left out 1" in said
    assert "torn.png" in said
    assert "versioned by datasets/toy.dvc" in said
    pointer = yaml.safe_load((toy.folder / "datasets" / "toy.dvc").read_text(encoding="utf-8"))
    assert pointer["outs"][0]["path"] == "toy"
    assert pointer["outs"][0]["nfiles"] == 9  # raw files are copied whole


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["imagefoldr", "--from", "."], "source imagefoldr: "),
        (["imagefolder", "--from", "absent"], "absent: no such folder"),
        (["imagefolder", "--from", ".", "--set", "limit"], "--set limit: expected KEY=VALUE"),
        (["imagefolder", "--from", ".", "--set", "limt=3"], "source imagefolder: imagefolder.limt: "),
    ],
)
def test_a_mistake_in_adding_is_one_line(words, text, toy, capsys):
    assert run(["data", "add", *words]) == 2
    assert f"medtransfer: {text}" in capsys.readouterr().err
