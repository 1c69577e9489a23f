"""What must hold of the finished sample pipeline. Run after ``make repro``: ``pytest -m sample``."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from medtransfer import paths
from medtransfer.evaluation.intervals import bootstrap_interval
from medtransfer.evaluation.predictions import read_predictions
from medtransfer.params import load_params

pytestmark = pytest.mark.sample
STUDY = "attentive_transfer"


@pytest.fixture(autouse=True)
def _in_the_checkout(checkout, monkeypatch):
    monkeypatch.chdir(checkout)


@pytest.fixture(scope="module")
def champion():
    return json.loads(Path("out", STUDY, "champion.json").read_text())


def test_the_champion_is_neither_useless_nor_perfect(champion):
    table = read_predictions(paths.OUT / STUDY / "predictions.parquet")
    of = {key: champion[key] for key in ("network", "chain", "seed")} | {
        "dataset": "ct",
        "split": "test",
        "output": "covid",
    }
    rows = table[np.logical_and.reduce([table[key] == value for key, value in of.items()])]
    interval = bootstrap_interval("auroc", rows["target"], rows["score"], rows["patient_id"])
    assert interval.low >= 0.60
    assert interval.high <= 0.98


def test_permuted_labels_teach_nothing(tmp_path):
    from types import SimpleNamespace

    from medtransfer.models.classifier import build_network
    from medtransfer.tracking.tracker import NullTracker
    from medtransfer.training.engine import Engine
    from medtransfer.training.inference import predict
    from medtransfer.training.loading import evaluation_loader, open_dataset, supervised_loader
    from medtransfer.training.loop import Fit
    from medtransfer.training.supervised import SupervisedTask

    params = load_params()
    study, engine = params.attentive_transfer, Engine(params.hardware)
    data = open_dataset(study.finetune.dataset)
    train = data.rows("train")
    shuffled = data.manifest["label"].to_numpy(object).copy()
    shuffled[train] = np.random.default_rng(0).permutation(shuffled[train])
    data.manifest["label"] = shuffled
    settings = study.finetune.model_copy(update={"train": study.finetune.train.model_copy(update={"selection": None})})
    task = SupervisedTask(
        build_network(study.network(study.networks[0]), len(data.meta.classes), seed=0), data.meta.classes
    )
    phase = SimpleNamespace(augment=settings.augment, train=settings.train)
    Fit(
        task,
        supervised_loader(data, phase, 0, engine),
        settings.train,
        engine=engine,
        tracker=NullTracker(),
        scratch=tmp_path,
        seed=0,
    ).run()
    found = predict(task, evaluation_loader(data, "test", settings.augment.crop, engine), engine)
    patients = data.manifest["patient_id"].to_numpy(object)[found["index"]]
    interval = bootstrap_interval("auroc", found["target"], found["label"][:, 1], patients)
    assert interval.low <= 0.5 <= interval.high


def test_every_fit_is_one_finished_run_that_its_record_names():
    records = sorted(Path("out", STUDY).glob("*/*/records/*/run.json"))
    params = load_params().attentive_transfer
    pretraining = 1 + len(params.stl_m_after) + len(params.sstl_m_after)
    pretraining += len(params.methods_after) * len(params.methods)
    fits = len(params.chains) * len(params.seeds) + pretraining * len(params.pretrain_seeds)
    assert len(records) == len(params.networks) * fits
    with sqlite3.connect("mlflow.db") as store:
        finished = {row[0] for row in store.execute("select run_uuid from runs where status = 'FINISHED'")}
    named = [json.loads(path.read_text())["run_id"] for path in records]
    assert len(set(named)) == len(named)
    assert set(named) <= finished


def test_weights_are_stored_once():
    """Hard links share bytes; the registry's copy of the champion is the only second one."""
    models = {path.stat().st_ino: path.stat().st_size for path in Path("out", STUDY).rglob("model.safetensors")}
    sizes = set(models.values())
    stored = {}
    for root in ("out", ".dvc/cache", "mlartifacts"):
        for path in Path(root).rglob("*"):
            if path.is_file() and path.stat().st_size in sizes:
                stored[path.stat().st_ino] = path.stat().st_size
    assert sum(stored.values()) < 1.1 * sum(models.values())


def test_the_report_names_the_phantoms_and_every_table():
    page = Path("out/report", STUDY, "index.html").read_text()
    text = Path("out/report", STUDY, "results.md").read_text()
    for words in ("phantom", *(f"Table {number}" for number in range(1, 7)), "Fig. 3", "Fig. 4", "not available"):
        assert words in page
    assert "DeLong" in text
