"""What is watched of inserted layers while a fit runs."""

import numpy as np
import pytest
import torch
from torch import nn

from medtransfer.models.classifier import NetworkConfig, build_network, inserted_layers, inserted_off
from medtransfer.models.insertion import AttentionConfig
from medtransfer.training.inference import predict
from medtransfer.training.loading import evaluation_loader
from medtransfer.training.supervised import SupervisedTask
from medtransfer.training.validation import supervised_validation

SITES = ("layer2.0", "layer3.0")


@pytest.fixture
def watch(data, engine, toys):
    """Validate a network with two inserted layers of a kind; ``open`` gives their branches something to say."""

    def metrics(kind, *, opened, **attention):
        config = AttentionConfig.model_validate({"kind": kind, "sites": SITES, **attention})
        model = build_network(NetworkConfig(backbone="test_resnet", attention=config), classes=2, seed=0)
        for number, layer in enumerate(inserted_layers(model).values()):
            if opened:
                nn.init.normal_(layer.project.weight, generator=torch.Generator().manual_seed(number))
                nn.init.constant_(layer.norm.weight, 1.0 + number)
                nn.init.constant_(layer.norm.bias, 0.5)
        task = SupervisedTask(engine.place(model), toys.classes)
        found = supervised_validation(data, toys.crop, engine, positive="ill")(task)
        return task, {key.removeprefix("inserted/"): value for key, value in found.items() if "inserted/" in key}

    return metrics


@pytest.mark.parametrize("scale", [False, True])
def test_attention_has_gamma_entropy_and_what_switching_off_changes(scale, watch, data, engine, toys):
    task, found = watch("attention", opened=True, scale=scale)
    assert set(found) == {
        *(f"{measure}_{site}" for measure in ("gamma_abs", "entropy") for site in SITES),
        *("gamma_max", "entropy", "change", "change_max"),
    }
    assert found["gamma_max"] == found["gamma_abs_layer3.0"] == 2.0
    assert found["entropy"] == pytest.approx(np.mean([found[f"entropy_{site}"] for site in SITES]))
    loader = evaluation_loader(data, "val", toys.crop, engine)
    on = predict(task, loader, engine)["label"]
    with inserted_off(task.module):
        off = predict(task, loader, engine)["label"]
    moved = np.abs(on[:, 1].astype(float) - off[:, 1])
    assert moved.max() > 0.01
    assert (found["change"], found["change_max"]) == pytest.approx((moved.mean(), moved.max()), abs=1e-6)


def test_new_layers_change_nothing(watch):
    _, found = watch("attention", opened=False)
    assert (found["gamma_max"], found["change"], found["change_max"]) == (0, 0, 0)


def test_a_control_is_watched_without_entropy(watch):
    _, found = watch("convolution", opened=True)
    assert set(found) == {*(f"gamma_abs_{site}" for site in SITES), "gamma_max", "change", "change_max"}
    assert found["change"] > 0


def test_a_plain_network_has_nothing_to_watch(data, engine, toys):
    task = SupervisedTask(engine.place(build_network(NetworkConfig(backbone="test_resnet"), classes=2)), toys.classes)
    assert not [
        key for key in supervised_validation(data, toys.crop, engine, positive="ill")(task) if "inserted" in key
    ]
