"""Every entry point of MLproject is started by MLflow, on a toy workspace; conda.yaml has the pins of the lock."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
ENTRIES = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))["entry_points"]
MODEL = {"model": "models:/absent@champion"}
STUDY = {"study": "attentive_transfer"}
RUNS = {
    "code": {},
    "prepare": {"dataset": "mine"},
    "summary": {},
    "doctor": {},
    "main": {},
    "repro": {},
}
"""Entry points that need nothing made before, and the parameters with which they succeed."""
REFUSED = {
    "gate": {},
    "fit": STUDY | {"phase": "finetune"},
    "overview": {},
    **dict.fromkeys(("transferability", "predict", "score", "register", "explain", "report"), STUDY),
    "measure": {"study": "truncated_transfer"},
    "evaluate": MODEL | {"images": "data"},
    "serve": {"model": "absent@champion"},
    "compare": {"data": "absent.csv", "target": "label", "task": "binary"},
    "audit": MODEL | {"manifest": "absent.csv"},
    "prevalence": {"predictions": "absent.csv", "output": "a", "variant": "b"},
    "data": {"source": "csv", "from": "absent", "name": "other"},
    "workspace": {"name": "other", "profile": "absent"},
    "registry": {"model": "absent"},
    "lineage": {"what": "absent"},
    "import": {"folder": "absent"},
    **{verb: {"name": "absent"} for verb in ("tune", "report-tuning", "adopt", "confirm")},
}
"""Entry points that need a trained pipeline, which here end with the one line of our own that says what is missing."""
ELSEWHERE = {"check"}
"""Run on the real checkout: tests/test_readme.py."""


def test_every_entry_point_is_run():
    assert {*RUNS, *REFUSED, *ELSEWHERE} == set(ENTRIES)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A git checkout with the sources, one drawn image set that DVC versions, and a pipeline of the stage ``code``."""
    import numpy as np
    from PIL import Image

    folder = tmp_path_factory.mktemp("project")
    for name in ("MLproject", "conda.yaml", "requirements.lock"):
        shutil.copyfile(ROOT / name, folder / name)
    (folder / "src").symlink_to(ROOT / "src")
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    ct = params["datasets"]["ct"]
    params["datasets"]["mine"] = ct | {"source": ct["source"] | {"root": "data/mine"}, "pack": {"size": 32}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    (folder / "data" / "mine").mkdir(parents=True)
    draw, rows = np.random.default_rng(0), ["image,patient_id,label,split"]
    for number in range(12):
        grey = draw.integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(grey).save(folder / "data" / "mine" / f"{number}.png")
        split = ("train", "val", "test")[number // 2 % 3]
        rows.append(f"{number}.png,{number},{('non-covid', 'covid')[number % 2]},{split}")
    (folder / "data" / "mine" / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    stages = {"code": {"cmd": "python -m medtransfer code", "outs": ["out/code"]}}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    add = ("dvc add -q data", "dvc remote add -q -d store ../store", "dvc push -q")
    for command in ("git init -q", "dvc init -q", *add):
        subprocess.run(command.split(), cwd=folder, check=True)
    return folder


def mlflow_run(project, name, parameters, monkeypatch, capfd):
    """Start an entry point as ``mlflow run . -e NAME --env-manager=local`` does; return success and what it says."""
    from mlflow.exceptions import ExecutionException
    from mlflow.projects import run

    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    try:
        run(".", name, parameters=dict(parameters), env_manager="local", experiment_name="entries")
    except ExecutionException:
        return False, capfd.readouterr().err
    return True, capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_an_entry_point_succeeds(name, project, monkeypatch, capfd):
    fine, said = mlflow_run(project, name, RUNS[name], monkeypatch, capfd)
    assert fine, said
    assert name != "prepare" or (project / "out" / "datasets" / "mine" / "images.npy").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_an_entry_point_reaches_its_verb(name, project, monkeypatch, capfd):
    fine, said = mlflow_run(project, name, REFUSED[name], monkeypatch, capfd)
    assert not fine
    assert "Traceback" not in said.split("mlflow.exceptions")[0]
    assert re.search(r"^medtransfer: ", said, re.MULTILINE), said


def test_conda_takes_python_and_the_pins_of_the_lock_alone():
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text(encoding="utf-8"))
    python, pip, listed = conda["dependencies"]
    assert (python, pip, listed) == ("python=3.11", "pip", {"pip": ["-r requirements.lock"]})


def test_every_pin_is_exact_and_hashed_and_the_project_s_own_requirements_are_met():
    import tomllib

    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line.rstrip("\\ ")) for line in lines if line[:1].isalnum()]
    assert all([each.operator for each in pin.specifier] == ["=="] for pin in pins)
    assert not [line for line in lines if line[:1].isalnum() and not line.endswith("\\")]
    versions = {pin.name: next(iter(pin.specifier)).version for pin in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for text in (*project["dependencies"], *extras["dev"], *extras["remote"]):
        wanted = Requirement(text)
        if wanted.name == project["name"]:  # dev contains remote
            assert wanted.extras == {"remote"}
            continue
        name = wanted.name.replace("_", "-")
        assert wanted.specifier.contains(versions[name], prereleases=True), text


@pytest.mark.slow
def test_pip_resolves_the_pins_without_an_index():
    """In an environment that holds the pins, pip finds every one of them there and would install nothing."""
    from medtransfer.stages.doctor import differences

    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert differences(lock) == ([], [])
    pins = [line.rstrip("\\ ") for line in lock.splitlines() if line[:1].isalnum()]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--quiet", *pins]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Would install" not in done.stdout
