"""Loaders, validation and parents of the studies' fits, on the toy data."""

from types import SimpleNamespace

import numpy as np
import pytest

from medtransfer.errors import CheckpointError, DataError
from medtransfer.files import write_json
from medtransfer.ssl.regions import Located
from medtransfer.training.fitting import Parent, preprocessing
from medtransfer.training.loading import evaluation_loader, supervised_loader
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

    def boxes(pictures):
        located.append(pictures.shape)
        found = np.arange(len(pictures)) % 3 > 0
        return Located(np.tile(np.array([0, 0, 9, 9], np.float32), (len(pictures), 5, 1)), found)

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


def test_a_parent_is_its_weights_and_its_run(tmp_path):
    folder = tmp_path / "weights" / "seed0"
    with pytest.raises(CheckpointError, match="no weights here; run the stage that makes them first"):
        Parent.read(folder)
    write_json(folder / "config.json", {"sha256": "ab"})
    assert Parent.read(folder) == Parent(folder=folder, sha256="ab", run_key=None)
    write_json(tmp_path / "records" / "seed0" / "run.json", {"run_key": "k"})
    assert Parent.read(folder).run_key == "k"
