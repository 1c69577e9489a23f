import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from medtransfer.data.loaders import Loader
from medtransfer.errors import ConfigError
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.inference import classification_metrics, predict
from medtransfer.training.task import SupervisedTask


def test_predictions_come_in_the_order_of_the_rows_and_leave_the_module_as_it_was(data, engine, toys):
    rows = data.rows("test")[::-1].copy()
    loader = Loader(data, rows, batch_size=3, crop=toys.crop, seed=0, train=False)
    task = SupervisedTask(toys.net())
    before = toys.weights(task)
    found = predict(task, loader, engine)
    assert found["index"].tolist() == rows.tolist()
    assert found["target"].tolist() == data.targets(rows).tolist()
    assert found["probability"].dtype == np.float32
    np.testing.assert_allclose(found["probability"].sum(1), 1, rtol=1e-6)
    assert toys.equal(toys.weights(task), before)
    singly = Loader(data, rows, batch_size=1, crop=toys.crop, seed=0, train=False)
    np.testing.assert_allclose(predict(task, singly, engine)["probability"], found["probability"], rtol=1e-5)


def test_predictions_under_bf16_are_float32(data, toys):
    half = Engine(HardwareConfig(device="cpu", precision="bf16"))
    loader = Loader(data, data.rows("val"), batch_size=4, crop=toys.crop, seed=0, train=False)
    found = predict(SupervisedTask(toys.net()), loader, half)
    assert found["probability"].dtype == np.float32


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
