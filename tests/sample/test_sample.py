"""What must hold of the finished sample pipeline. Run after ``make repro``: ``pytest -m sample``."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from medtransfer import paths
from medtransfer.evaluation.predictions import read_predictions
from medtransfer.evaluation.summary import patient_interval
from medtransfer.files import sha256_file
from medtransfer.params import load_params
from medtransfer.studies import STUDIES, module, with_verb

pytestmark = pytest.mark.sample
STUDY = "attentive_transfer"


@pytest.fixture(autouse=True)
def _in_the_checkout(checkout, monkeypatch):
    monkeypatch.chdir(checkout)


def test_the_champion_is_neither_useless_nor_perfect():
    (champion,) = json.loads((paths.results(STUDY) / "champions.json").read_text())
    table = read_predictions(paths.results(STUDY) / "predictions.parquet")
    of = {key: champion[key] for key in ("variant", "condition", "seed")}
    of |= {"dataset": "ct", "split": "test", "output": "covid", "intervention": ""}
    rows = table[np.logical_and.reduce([table[key] == value for key, value in of.items()])]
    interval = patient_interval("auroc", rows["target"], rows["score"], rows["patient_id"])
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
    interval = patient_interval("auroc", found["target"], found["label"][:, 1], patients)
    assert interval.low <= 0.5 <= interval.high


def expected_fits(config, study):
    """How many fits a study has: every phase but the untrained start, and trials of the learning rate."""
    made = module(study, "study")
    fits = sum(
        len(made.conditions(config, phase, variant)) * len(seeds_of(config, phase))
        for phase in made.PHASES
        if phase != "start"
        for variant in made.variants(config, phase)
    )
    if study != "truncated_transfer":
        return fits
    tuned = sum(condition.protocol == "tuned" for condition in config.conditions())
    return fits + len(config.variants) * tuned * len(config.tuning.learning_rates)


def seeds_of(config, phase):
    """Return the seeds of a phase: pretraining of the attentive study has its own, truncated pretraining has one."""
    if phase == "finetune":
        return config.seeds
    return getattr(config, "pretrain_seeds", (0,))


@pytest.mark.parametrize("study", STUDIES)
def test_every_fit_is_one_finished_run_that_its_record_names(study):
    config = load_params().study(study)
    records = sorted(paths.study_folder(study).glob("records/*/*/*/*/run.json"))
    assert len(records) == expected_fits(config, study)
    assert {model.records / "run.json" for model in module(study, "predictions").fitted(config)} <= set(records)
    with sqlite3.connect("mlflow.db") as store:
        finished = {row[0] for row in store.execute("select run_uuid from runs where status = 'FINISHED'")}
    named = [json.loads(path.read_text())["run_id"] for path in records]
    assert len(set(named)) == len(named)
    assert set(named) <= finished


@pytest.mark.parametrize("study", STUDIES)
def test_the_champion_of_every_contest_is_registered_by_its_run(study):
    config = load_params().study(study)
    champions = json.loads((paths.results(study) / "champions.json").read_text())
    assert [each["model"] for each in champions] == [
        contest.model for contest in module(study, "predictions").contests(config)
    ]
    keys = {json.loads(path.read_text())["run_key"] for path in paths.study_folder(study).rglob("run.json")}
    assert {each["run_key"] for each in champions} <= keys


@pytest.mark.parametrize("study", STUDIES)
def test_what_was_registered_was_audited_before(study):
    champions = json.loads((paths.results(study) / "champions.json").read_text())
    audits = json.loads(paths.AUDITS.read_text())["audits"]
    models = {(model.variant, model.condition, model.seed): model for model in _fitted(study)}
    for each in champions:
        weights = models[each["variant"], each["condition"], each["seed"]].weights / "model.safetensors"
        verdicts = {one["model"]["verdict"] for one in audits if one["weights"] == sha256_file(weights)}
        assert verdicts
        assert not each["alias"] or "confounded" not in verdicts


def _fitted(study):
    return module(study, "predictions").fitted(load_params().study(study))


@pytest.mark.parametrize("study", with_verb("explain"))
def test_the_report_links_the_gallery_which_has_cases_and_scores(study):
    page = Path("out/report", study, "index.html").read_text()
    assert 'href="gallery/index.html"' in page
    assert "Maps scored" in page
    gallery = Path("out/report", study, "gallery", "index.html").read_text()
    assert gallery.count('<section class="case">') >= 2
    assert "noise" in gallery


def test_weights_are_stored_once():
    """Outputs, DVC's cache and finished fits share their bytes; the registry's copies of champions are extra.

    DVC keeps equal bytes of two fits once, such as a trial and the fit that stopped at the same step; their scratch
    folders keep both.
    """
    files = [path for study in STUDIES for path in paths.study_folder(study).rglob("model.safetensors")]
    models = {path.stat().st_ino: path.stat().st_size for path in files}
    twins = [path for path in Path(".scratch/fits").rglob("model.safetensors") if path.stat().st_nlink == 1]
    assert {sha256_file(path) for path in twins} <= {sha256_file(path) for path in files}
    sizes, stored = set(models.values()), {}
    for root in ("out", ".dvc/cache", ".scratch/fits", "mlartifacts"):
        for path in Path(root).rglob("*"):
            if path.is_file() and path not in twins and path.stat().st_size in sizes:
                stored[path.stat().st_ino] = path.stat().st_size
    assert sum(stored.values()) < 1.1 * sum(models.values())


def test_the_report_names_the_phantoms_and_every_table():
    page = Path("out/report", STUDY, "index.html").read_text()
    text = Path("out/report", STUDY, "results.md").read_text()
    for words in ("phantom", *(f"Table {number}" for number in range(1, 7)), "Fig. 3", "Fig. 4", "Not available"):
        assert words in page
    assert "DeLong" in text
