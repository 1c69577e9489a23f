"""The verb fit: which fits a command line names, under which code, and what MLproject starts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from medtransfer import code
from medtransfer.cli import run
from medtransfer.files import read_json
from medtransfer.paths import FitPaths
from medtransfer.stages import fit
from medtransfer.studies import entries

ROOT = Path(__file__).parent.parent.parent
ATTENTIVE, TRUNCATED = "attentive_transfer", "truncated_transfer"
NETWORK = "test_resnet"


@pytest.fixture
def studies(toy):
    """Both studies on the smallest network there is; the truncated one pretrains it for a step."""
    toy.params[ATTENTIVE] |= {"networks": [f"{NETWORK}_attn0"], "warmed": {}}
    pretrain = toy.params[TRUNCATED]["pretrain"]
    train = pretrain["train"] | {"epochs": None, "steps": 1, "batch_size": 4, "selection": None}
    toy.params[TRUNCATED] |= {
        "variants": [f"{NETWORK}-random", f"{NETWORK}-transfer"],
        "tasks": {"covid": {"dataset": "ct", "positive": "covid"}},
        "regimes": {"all": {}, "half": {"share": 0.5}},
        "protocols": ["paper"],
        "start": {NETWORK: {"kind": "train"}},
        "pretrain": pretrain | {"dataset": "ct", "augment": {"crop": 32}, "train": train},
    }
    toy.params[TRUNCATED]["train"]["batch_size"] = 4
    toy.write_params()
    toy.draw()
    assert run(["prepare", "ct"]) == 0
    return toy


@pytest.fixture
def planned(studies, monkeypatch):
    """What a command line would fit: (variant, condition, seed) of every fit, and the setting of all."""
    plans = []
    monkeypatch.setattr(fit, "run_plan", lambda plan, setting: plans.append((plan, setting)))

    def named(*words):
        plans.clear()
        assert run(["fit", *words]) == 0
        return {(spec.variant, spec.condition, spec.seed) for plan, _ in plans for spec in plan.fits}, plans[0][1]

    return named


def test_leftovers_of_a_killed_process_are_cleared_before_a_fit(planned):
    making = "from medtransfer.processes import this_process; print(this_process())"
    gone = subprocess.run([sys.executable, "-c", making], check=True, capture_output=True, text=True).stdout.strip()
    left = Path("out") / "datasets" / f".ct.{gone}.abcd1234.part"
    left.mkdir()
    planned(TRUNCATED, "finetune", f"{NETWORK}-random")
    assert not left.exists()


def test_a_fit_is_every_condition_of_a_variant_unless_some_are_named(planned):
    variant = f"{NETWORK}-random"
    every, _ = planned(TRUNCATED, "finetune", variant)
    assert every == {(variant, "covid-all-paper", 0), (variant, "covid-half-paper", 0)}
    some, _ = planned(TRUNCATED, "finetune", variant, "--condition", "covid-half-paper")
    assert some == {(variant, "covid-half-paper", 0)}
    named = ("--condition", "covid-half-paper", "--condition", "covid-all-paper")
    both, _ = planned(TRUNCATED, "finetune", variant, *named)
    assert both == every


def test_fits_are_known_by_the_code_of_their_own_phase(planned):
    _, setting = planned(TRUNCATED, "pretrain", "all")
    assert setting.code == code.digest(entries("fit", TRUNCATED, "pretrain"))
    assert setting.code != code.digest(entries("fit", TRUNCATED, "finetune"))
    assert setting.profile == "sample"


def test_a_run_is_marked_once_its_fit_was_trained_again_with_other_parameters(studies, monkeypatch):
    marked = []
    monkeypatch.setattr(fit, "mark_replaced", lambda study, newer: marked.append((study, newer)))
    record = FitPaths(study=TRUNCATED, folder="pretrain", variant=NETWORK, condition="source", seed=0).records
    keys = []
    for rate in (0.01, 0.01, 0.02):
        studies.params[TRUNCATED]["pretrain"]["train"]["optimizer"]["lr"] = rate
        studies.write_params()
        assert run(["fit", TRUNCATED, "pretrain", "all"]) == 0
        keys.append(read_json(record / "run.json")["run_key"])
    assert keys[0] == keys[1] != keys[2]
    assert marked == [(TRUNCATED, {}), (TRUNCATED, {}), (TRUNCATED, {keys[0]: keys[2]})]


def test_a_damaged_record_of_an_earlier_run_is_no_fault_of_the_next(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for name, content in (("whole", '{"run_key": "a"}'), ("cut", '{"run_k'), ("other", "{}")):
        record = tmp_path / ".scratch/fits" / TRUNCATED / "pretrain" / name / "records" / "run.json"
        record.parent.mkdir(parents=True)
        record.write_text(content, encoding="utf-8")
    assert list(fit._runs(TRUNCATED).values()) == [{"a"}]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("study", "phase", "fitted"),
    [
        (ATTENTIVE, "start", {"variant": f"{NETWORK}_attn0", "condition": "none"}),
        (TRUNCATED, "pretrain", {"variant": NETWORK, "condition": "source"}),
    ],
)
def test_a_phase_of_each_study_is_fitted_as_an_mlflow_project(study, phase, fitted, studies):
    for name in ("MLproject", "conda.yaml"):
        shutil.copyfile(ROOT / name, studies.folder / name)
    (studies.folder / "src").symlink_to(ROOT / "src")
    command = [sys.executable, "-m", "mlflow", "run", str(studies.folder), "-e", "fit", "--env-manager=local"]
    command += ["-P", f"study={study}", "-P", f"phase={phase}"]
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{studies.folder}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    done = subprocess.run(
        command, cwd=studies.folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (FitPaths(study=study, folder="pretrain", **fitted, seed=0).weights / "model.safetensors").exists()
