import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from medtransfer.data.loaders import Loader
from medtransfer.errors import ConfigError, ModelError
from medtransfer.models.heads import Head
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.inference import classification_metrics, multilabel_metrics, predict, predict_heads
from medtransfer.training.supervised import MultiLabelTask, SupervisedTask


def test_predictions_come_in_the_order_of_the_rows_and_leave_the_module_as_it_was(data, engine, toys):
    rows = data.rows("test")[::-1].copy()
    loader = Loader(data, rows, batch_size=3, crop=toys.crop, seed=0, train=False)
    task = SupervisedTask(toys.net(), toys.classes)
    before = toys.weights(task)
    found = predict(task, loader, engine)
    assert found["index"].tolist() == rows.tolist()
    assert found["target"].tolist() == data.class_index[rows].tolist()
    assert found["label"].dtype == np.float32
    np.testing.assert_allclose(found["label"].sum(1), 1, rtol=1e-6)
    assert toys.equal(toys.weights(task), before)
    singly = Loader(data, rows, batch_size=1, crop=toys.crop, seed=0, train=False)
    np.testing.assert_allclose(predict(task, singly, engine)["label"], found["label"], rtol=1e-5)


def test_predictions_under_bf16_are_float32(data, toys):
    half = Engine(HardwareConfig(device="cpu", precision="bf16"))
    loader = Loader(data, data.rows("val"), batch_size=4, crop=toys.crop, seed=0, train=False)
    found = predict(SupervisedTask(toys.net(), toys.classes), loader, half)
    assert found["label"].dtype == np.float32


@pytest.fixture
def loader(data, toys):
    return Loader(data, data.rows("test")[::-1].copy(), batch_size=3, crop=toys.crop, seed=0, train=False)


@pytest.mark.parametrize("kind", [SupervisedTask, MultiLabelTask])
def test_a_stored_network_predicts_as_its_task_did(kind, loader, engine, toys):
    task = kind(toys.net(), ("healthy", "ill"))
    (name,) = task.heads()
    found, expected = predict_heads(task.exported(), task.heads(), loader, engine), predict(task, loader, engine)
    np.testing.assert_array_equal(found[name], expected[name])
    for key in ("index", "target"):
        np.testing.assert_array_equal(found[key], expected[key])


def test_two_heads_are_predicted_apart_from_columns_or_by_name(loader, engine, toys):
    class Named(torch.nn.Module):
        def forward(self, images):
            return {"severity": net(images)[:, 1:], "finding": net(images)[:, :1]}

    net = toys.net(dropout=0.0).eval()
    heads = {
        "finding": Head(outputs=("edema",), activation="sigmoid", kind="probability"),
        "severity": Head(outputs=("zone_0",), activation="identity", kind="severity"),
    }
    found = predict_heads(net, heads, loader, engine)
    images = torch.cat([batch["image"] for batch in loader.epoch(0)])
    raw = net(images).detach().numpy()
    np.testing.assert_allclose(found["finding"], 1 / (1 + np.exp(-raw[:, :1])), rtol=1e-5)
    np.testing.assert_allclose(found["severity"], raw[:, 1:], rtol=1e-5)
    named = predict_heads(Named(), heads, loader, engine)
    assert all(np.array_equal(named[name], found[name]) for name in heads)


def test_a_head_that_was_never_trained_predicts_nothing(loader, engine, toys):
    heads = {"label": Head(outputs=toys.classes, activation="softmax", kind="probability", trained=False)}
    with pytest.raises(ModelError, match="prediction: head 'label' was never trained and predicts nothing"):
        predict_heads(toys.net(), heads, loader, engine)


TARGET = np.array([0, 1, 1, 0, 1, 0])
SCORE = np.array([0.1, 0.9, 0.35, 0.4, 0.8, 0.2])


def test_binary_metrics_speak_of_the_positive_class():
    found = classification_metrics(np.stack([1 - SCORE, SCORE], 1), TARGET, ("healthy", "ill"), positive="ill")
    assert found["val/auroc_ill"] == pytest.approx(roc_auc_score(TARGET, SCORE))
    assert found["val/auprc_ill"] == pytest.approx(average_precision_score(TARGET, SCORE))
    assert found["val/sensitivity_ill"] == pytest.approx(2 / 3)
    assert found["val/specificity_ill"] == 1.0
    turned = classification_metrics(np.stack([SCORE, 1 - SCORE], 1), 1 - TARGET, ("ill", "healthy"), positive="ill")
    assert turned == pytest.approx(found)


def test_without_a_positive_class_the_metrics_are_macro_means():
    probability = torch.softmax(torch.randn(12, 3, generator=torch.Generator().manual_seed(0)), 1).double().numpy()
    target = np.arange(12) % 3
    found = classification_metrics(probability, target, ("a", "b", "c"))
    literal = np.mean([roc_auc_score(target == k, probability[:, k]) for k in range(3)])
    assert found["val/macro_auroc"] == pytest.approx(literal)
    assert set(found) == {f"val/{name}" for name in ("macro_auroc", "macro_auprc", "macro_f1", "top_1", "macro_mse")}


def test_a_positive_class_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="positive class 'COVID' does not exist; the classes are healthy, ill"):
        classification_metrics(np.zeros((1, 2)), np.zeros(1), ("healthy", "ill"), positive="COVID")


def test_metrics_of_findings_are_those_of_their_known_rows_and_their_mean():
    draw = np.random.default_rng(0)
    probability = draw.random((40, 3))
    target = (draw.random((40, 3)) < 0.4).astype(float)
    target[:10, 1], target[:, 2] = np.nan, 0
    found = multilabel_metrics(probability, target, ("edema", "mass", "hernia"))
    assert found["val/auroc_edema"] == pytest.approx(roc_auc_score(target[:, 0], probability[:, 0]))
    assert found["val/auprc_mass"] == pytest.approx(average_precision_score(target[10:, 1], probability[10:, 1]))
    assert np.isnan(found["val/auroc_hernia"])
    assert np.isnan(found["val/auprc_hernia"])
    assert found["val/macro_auprc"] == pytest.approx((found["val/auprc_edema"] + found["val/auprc_mass"]) / 2)
    assert found["val/macro_auroc"] == pytest.approx((found["val/auroc_edema"] + found["val/auroc_mass"]) / 2)


def test_findings_that_all_lack_a_side_have_no_mean():
    found = multilabel_metrics(np.full((3, 1), 0.5), np.ones((3, 1)), ("edema",))
    assert np.isnan(found["val/macro_auprc"])
