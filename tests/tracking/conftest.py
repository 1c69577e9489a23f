"""One template store a session, copied into each test's own workspace."""

import shutil
from pathlib import Path

import pytest

from medtransfer.tracking import DatasetInput, RunSpec, prepare_store


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("store") / "template.db"
    prepare_store(f"sqlite:///{database}")
    return database


@pytest.fixture
def here(tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with an empty, ready store, which is also the working folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(template, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def spec() -> RunSpec:
    return RunSpec(
        experiment="attentive_transfer",
        name="finetune · resnet50+5attn · seed 0",
        description="Does attention transfer?",
        tags={"phase": "finetune"},
        params={"optim": {"lr": 0.1}, "layers": [1, 2]},
        datasets=(DatasetInput(name="ct", digest="d41d8cd98f00b204e9800998ecf8427e", path="data/ct", split="train"),),
        parents=("a" * 32,),
    )
