"""What the studies' fits are made of, on the toy data: loaders, validation, parents, names, identity."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from medtransfer.data.manifest import ZONES
from medtransfer.errors import CheckpointError, ConfigError, DataError
from medtransfer.files import write_json
from medtransfer.models.weights import load_model
from medtransfer.paths import FitPaths
from medtransfer.ssl.regions import Located
from medtransfer.training.fitting import Parent, identity, preprocessing, run_spec, save
from medtransfer.training.loading import evaluation_loader, mirrored_columns, supervised_loader
from medtransfer.training.loop import FitResult
from medtransfer.training.self_supervised import self_supervised_loader, training_regions
from medtransfer.training.supervised import MultiLabelTask, SupervisedTask
from medtransfer.training.validation import multilabel_validation, supervised_validation


@pytest.fixture
def phase(toys):
    return SimpleNamespace(augment=toys.augment, train=toys.config(), region_size=8, region_augment=None)


def test_only_training_rows_reach_a_supervised_fit(data, phase, engine):
    loader = supervised_loader(data, phase, 0, engine)
    assert loader.rows.tolist() == data.rows("train").tolist()


def test_self_supervision_reads_the_training_split_alone_with_or_without_label(data, phase, engine):
    train = data.rows("train")
    data.manifest.loc[train[:3], "label"] = ""
    located = []

    def boxes(images):
        located.append(images.shape)
        found = np.arange(len(images)) % 3 > 0
        return Located(np.tile(np.array([0, 0, 9, 9], np.float32), (len(images), 5, 1)), found)

    regions = training_regions(data, boxes)
    assert regions.counts() == {"data/images": 24, "data/without_lungs": 8}
    loader = self_supervised_loader(data, phase, 0, engine, regions=regions)
    assert loader.rows.tolist() == train.tolist()
    assert located == [(24, 20, 20)]
    batch = loader.batch(0, 0)
    assert batch["query"].shape == batch["key"].shape == (8, 3, 16, 16)
    assert batch["regions"].shape == (40, 3, 8, 8)


def test_evaluation_keeps_order_and_the_normalisation_of_training(data, engine, toys):
    other = SimpleNamespace(meta=SimpleNamespace(mean=(0.1,), std=(0.9,)))
    loader = evaluation_loader(data, "test", toys.crop, engine, trained_on=other)
    assert loader.rows.tolist() == data.rows("test").tolist()
    assert (loader.mean, loader.std) == ((0.1,), (0.9,))


def test_a_split_without_labels_is_refused(data, engine, toys):
    data.manifest.loc[data.rows("val"), "label"] = ""
    with pytest.raises(DataError, match="the val split has no labelled image; check its split settings"):
        evaluation_loader(data, "val", toys.crop, engine)


@pytest.fixture
def findings(data):
    """Two findings; of the first six training rows none is known, of one validation row one is not."""
    ill = (data.class_index == 1).astype(float)
    data.manifest["y_edema"], data.manifest["y_mass"] = ill, 1 - ill
    data.manifest.loc[data.rows("train")[:6], ["y_edema", "y_mass"]] = np.nan
    data.manifest.loc[data.rows("val")[0], "y_mass"] = np.nan
    return ("mass", "edema")


def test_findings_replace_the_classes_on_rows_where_one_is_known(data, phase, engine, toys, findings):
    loader = supervised_loader(data, phase, 0, engine, outputs=findings)
    assert loader.rows.tolist() == data.rows("train")[6:].tolist()
    assert loader.batch(0, 0)["target"].shape == (8, 2)
    first = evaluation_loader(data, "val", toys.crop, engine, outputs=findings).batch(0, 0)["target"][0]
    assert first.isnan().tolist() == [True, False]


def test_findings_are_scored_on_the_validation_split(data, engine, toys, findings):
    found = multilabel_validation(data, toys.crop, engine, findings=findings)(MultiLabelTask(toys.net(), findings))
    assert found["val/macro_auprc"] == pytest.approx((found["val/auprc_mass"] + found["val/auprc_edema"]) / 2)


def test_validation_scores_the_validation_split(data, engine, toys):
    validate = supervised_validation(data, toys.crop, engine, positive="ill")
    task = SupervisedTask(toys.net(), toys.classes)
    assert validate(task) == toys.validation(data, engine)(task)


def test_preprocessing_says_what_a_network_expects(data, toys):
    found = preprocessing(data, toys.crop)
    assert (found["crop"], found["size"], found["mean"]) == (16, 20, list(data.meta.mean))


def test_a_parent_is_its_weights_and_its_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit = FitPaths(study="toy_study", folder="pretrain", variant="net", condition="none", seed=0)
    with pytest.raises(CheckpointError, match="no weights here; run the stage that makes them first"):
        Parent.read(fit)
    write_json(fit.weights / "config.json", {"sha256": "ab"})
    assert Parent.read(fit) == Parent(folder=fit.weights, sha256="ab", run_key=None)
    write_json(fit.records / "run.json", {"run_key": "k"})
    assert Parent.read(fit).run_key == "k"


@pytest.fixture
def other(data):
    """The same images under another name, with another content hash and normalisation."""
    meta = data.meta.model_copy(update={"name": "other", "content_hash": "0" * 64, "mean": (0.1,), "std": (0.9,)})
    return type(data)(data.folder, data.manifest, meta)


@pytest.fixture
def of_two(data, other, engine, toys, tmp_path, monkeypatch):
    """A fit that reads two data sets through a loader each, and its setting."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.dvc").write_text(toys.pointer)
    (tmp_path / "other.dvc").write_text(toys.pointer.replace("5d41", "6e52").replace("path: data", "path: other"))
    loaders = {"images": toys.loader(data), "more": toys.loader(other)}
    parent = Parent(folder=tmp_path, sha256="ab", run_key="k")
    spec = toys.spec(data, engine, data={"images": data, "more": other}, loaders=loaders, parent=parent)
    pointers = {"toy": tmp_path / "data.dvc", "other": tmp_path / "other.dvc"}
    return spec, toys.setting(engine, pointers=pointers, code="c0de")


def test_each_of_two_data_sets_decides_the_identity_of_a_fit(of_two, data, other):
    spec, setting = of_two
    known = identity(spec, setting)
    assert known["data"] == {"images": data.meta.content_hash, "more": other.meta.content_hash}
    assert (known["parent"], known["code"]) == ("ab", "c0de")
    assert identity(replace(spec, data={"images": data, "more": data}), setting) != known
    assert identity(replace(spec, loaders=spec.loaders["images"], title="another"), setting) == known


def test_each_of_two_data_sets_is_an_input_of_the_tracked_run(of_two, data, other):
    spec, setting = of_two
    tracked = run_spec(spec, setting)
    assert (tracked.experiment, tracked.name) == ("toy_study", "finetune · net · all · seed 0")
    assert [(entry.name, entry.digest, entry.split) for entry in tracked.datasets] == [
        ("toy", data.meta.content_hash[:36], "train"),
        ("other", other.meta.content_hash[:36], "train"),
    ]
    assert tracked.tags["dataset"] == "toy, other"
    assert [digest[:4] for digest in tracked.tags["data_md5"].split(",")] == ["5d41", "6e52"]
    names = {"phase": "finetune", "variant": "net", "condition": "all", "seed": "0", "network": "net"}
    assert names.items() <= tracked.tags.items()
    assert tracked.parents == ("k",)


def test_weights_expect_images_prepared_like_those_of_the_first_data_set(of_two, data, tmp_path):
    spec, _ = of_two
    undefined = {"val/auroc": float("nan")}
    result = FitResult(metrics=undefined, best_step=3, steps=6, epochs=2.0, seconds=1.0, history=[])
    save(spec, spec.task(), tmp_path / "weights", result)
    _, description = load_model(tmp_path / "weights")
    assert description["preprocessing"] == preprocessing(data, spec.crop)
    extra = description["extra"]
    assert (extra["dataset"], extra["metrics"], extra["best_step"]) == ("toy", {"val/auroc": None}, 3)
    assert extra["fit"] == spec.names


def test_a_trial_is_tracked_as_one(of_two):
    spec, setting = of_two
    trial = run_spec(replace(spec, trial=True), setting)
    assert trial.name == "trial · net · all · seed 0"
    assert trial.tags["phase"] == "trial"
    assert spec.phase == "finetune"


def test_targets_of_zones_change_sides_with_flips():
    assert mirrored_columns(("edema",)) is None
    assert mirrored_columns(()) is None
    assert mirrored_columns(("edema", *ZONES)) == (0, 4, 5, 6, 1, 2, 3)
    with pytest.raises(ConfigError, match="zone_4 needs zone_1 beside it"):
        mirrored_columns(("zone_4",))
