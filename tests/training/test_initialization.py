"""What the outputs of ready-made weights mean: those of the file where its head was loaded, else nothing yet."""

import pytest
import timm
from safetensors.torch import save_file

from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.heads import Head
from medtransfer.models.weights import FileInit, load_model, save_weights
from medtransfer.paths import FitPaths
from medtransfer.training.initialization import UNTRAINED_CLASSES, UNTRAINED_HEADS, write_ready_made
from network_heads import class_heads

NETWORK = NetworkConfig(backbone="test_resnet")


@pytest.fixture
def heads_from(tmp_path, monkeypatch):
    """Write ready-made weights from a file or folder and return what their outputs then mean."""

    monkeypatch.chdir(tmp_path)

    def heads(source):
        fit = FitPaths(study="toy", folder="pretrain", variant="net", condition="stl_n", seed=0)
        write_ready_made(NETWORK, FileInit(path=source), [fit])
        return load_model(fit.weights)[1]["heads"]

    return heads


def plain(path, classes):
    save_file(timm.create_model("test_resnet", num_classes=classes).state_dict(), path)
    return path


def test_a_head_that_was_loaded_is_trained(heads_from, tmp_path):
    assert heads_from(plain(tmp_path / "plain.safetensors", 1000)) == class_heads(UNTRAINED_CLASSES)


def test_a_head_that_kept_its_random_start_is_not(heads_from, tmp_path):
    assert heads_from(plain(tmp_path / "plain.safetensors", 5)) == UNTRAINED_HEADS


@pytest.mark.parametrize(
    "heads",
    [
        {"findings": Head(outputs=tuple(f"f{n}" for n in range(1000)), activation="sigmoid", kind="probability")},
        UNTRAINED_HEADS,
    ],
    ids=["findings", "untrained"],
)
def test_a_stored_network_says_itself_what_its_head_means(heads_from, tmp_path, heads):
    save_weights(build_network(NETWORK, 1000), tmp_path / "own", config=NETWORK, heads=heads, preprocessing={})
    assert heads_from(tmp_path / "own") == heads
