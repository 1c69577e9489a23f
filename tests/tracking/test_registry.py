"""The champion: stored once, found by its hash, loaded without a pickle, promoted with a reason."""

import dataclasses
import json
import os
import subprocess
import sys
from base64 import b64encode
from getpass import getuser
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from medtransfer.cli import run
from medtransfer.errors import GateClosed, ModelError, TrackingError
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.heads import Head
from medtransfer.models.weights import load_model, save_weights
from medtransfer.stages import registry
from medtransfer.tracking import (
    About,
    fetch_model,
    fetching,
    finish,
    open_run,
    promote,
    promotions,
    register_model,
    rollback,
)
from medtransfer.tracking.fetching import fetch_validation, version_of
from medtransfer.tracking.gates import SHIFT
from medtransfer.tracking.store import client
from network_heads import FINDINGS, LABEL_AND_ZONES, class_heads

NAME = "covid-ct"
CLASSES = class_heads(("non-covid", "covid"))
PREPROCESSING = {
    "size": 40,
    "crop": 32,
    "channels": 1,
    "mean": [0.4],
    "std": [0.2],
    "equalize": False,
    "window": None,
}


def fit(folder: Path, seed: int, heads: dict[str, Head] = CLASSES) -> Path:
    config = NetworkConfig(backbone="test_resnet")
    model = build_network(config, sum(len(head.outputs) for head in heads.values()), seed=seed)
    save_weights(model, folder, config=config, heads=heads, preprocessing=PREPROCESSING)
    return folder


@pytest.fixture
def records(here, spec):
    with open_run(spec, here / "records") as tracker:
        tracker.metrics({"val/auroc": 0.8}, 0)
    finish(here / "records")
    return here / "records"


def crowned(folder, records, why="best", **options):
    """Register weights and make them the champion, whatever the comparison with the former one says."""
    about = About(tags={"network": "test", "metric": "auroc", "gate.leaks": "open: 0 pairs"})
    version = register_model(folder, records=records, about=about, **options)
    promote(NAME, version, "champion", why, override="a test")
    return version


@pytest.fixture
def registered(here, records):
    return here / "weights", crowned(fit(here / "weights", 0), records)


def stored_files(here):
    return [path for path in (here / "mlartifacts").rglob("*") if path.is_file()]


def test_the_champion_comes_back_byte_for_byte(here, registered):
    weights, version = registered
    found = fetch_model("models:/covid-ct@champion")
    assert version == 1
    for file in ("model.safetensors", "config.json"):
        assert (found / file).read_bytes() == (weights / file).read_bytes()
    assert fetch_model("models:/covid-ct/1", folder=here / "elsewhere") == here / "elsewhere"
    load_model(found)


def test_tags_signature_and_pins_are_there(here, registered, records):
    tags = client().get_model_version(NAME, "1").tags
    assert tags["audit"] == "not audited"
    assert tags["network"] == "test"
    assert len(tags["sha256"]) == 64
    (description,) = [path for path in stored_files(here) if path.name == "MLmodel"]
    text = description.read_text()
    assert str(here) not in text
    assert str(Path(__file__).parents[2]) not in text
    assert "probability_covid" in text
    (pins,) = [path.read_text().split() for path in stored_files(here) if path.name == "requirements.txt"]
    assert all("==" in pin for pin in pins)
    assert any(pin.startswith("torch==") for pin in pins)


def test_weights_are_stored_once_and_nothing_is_pickled(here, registered, records):
    weights, _ = registered
    assert register_model(weights, records=records) == 1
    assert len(client().search_model_versions(f"name = '{NAME}'")) == 1
    files = stored_files(here)
    assert [path.name for path in files].count("model.safetensors") == 1
    assert not [path for path in files if path.suffix in (".pkl", ".pickle", ".pt", ".pth") or path.suffix == ".pyc"]
    assert len(promotions(NAME, "champion")) == 1


def test_the_registered_model_predicts_like_the_network(here, registered, monkeypatch):
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import load_model as load_registered

    from medtransfer.data.transforms import evaluate_view

    images = np.random.default_rng(0).integers(0, 256, (5, 1, 40, 40), dtype=np.uint8)
    network, _ = load_model(registered[0])
    with torch.inference_mode():
        view = evaluate_view(torch.from_numpy(images), 32, mean=[0.4], std=[0.2])
        expected = network(view).double().softmax(1).numpy()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here / 'mlflow.db'}")
    served = load_registered("models:/covid-ct@champion")
    table = served.predict(images.astype(np.float32))
    assert list(table.columns) == ["label", "probability_non-covid", "probability_covid"]
    np.testing.assert_allclose(table.iloc[:, 1:].to_numpy(), expected, atol=1e-6)
    assert list(table["label"]) == [("non-covid", "covid")[i] for i in expected.argmax(1)]
    with pytest.raises(MlflowException, match="shape"):
        served.predict(np.zeros((1, 3, 40, 40), np.float32))
    pd.testing.assert_frame_equal(served.predict(images), table)
    files = [here / f"{number}.png" for number in range(5)]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image[0]).save(file)
    for given in (files, [file.read_bytes() for file in files], [b64encode(f.read_bytes()).decode() for f in files]):
        pd.testing.assert_frame_equal(served.predict(given), table)
    assert len(served.predict(files[0])) == 1
    with pytest.raises(MlflowException, match=r"no base64 code of an image file; give a path as pathlib\.Path"):
        served.predict([str(files[0])])
    with pytest.raises(MlflowException, match="no such image"):
        served.predict([here / "absent.png"])
    with pytest.raises(MlflowException, match="expected at most 256"):
        served.predict(files * 60)


def served_and_raw(here, records, monkeypatch, heads):
    """Register a network, load it through MLflow; return its table, its signature's columns and the raw outputs."""
    from mlflow.pyfunc import load_model as load_registered

    from medtransfer.tracking.serving import prepare

    crowned(fit(here / "weights", 0, heads), records)
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 40, 40), dtype=np.uint8)
    network, _ = load_model(here / "weights")
    with torch.inference_mode():
        raw = network(prepare(images, PREPROCESSING)).numpy()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here / 'mlflow.db'}")
    served = load_registered("models:/covid-ct@champion")
    return served.predict(images.astype(np.float32)), served.metadata.get_output_schema().input_names(), raw


def test_findings_are_served_as_independent_probabilities(here, records, monkeypatch):
    table, signed, raw = served_and_raw(here, records, monkeypatch, FINDINGS)
    assert list(table.columns) == signed == ["probability_edema", "probability_mass"]
    np.testing.assert_allclose(table.to_numpy(), 1 / (1 + np.exp(-raw)), rtol=1e-5)
    assert (np.abs(table.sum(axis=1) - 1) > 1e-3).any()


def test_a_network_of_two_heads_serves_both(here, records, monkeypatch):
    table, signed, raw = served_and_raw(here, records, monkeypatch, LABEL_AND_ZONES)
    classes = ("normal", "pneumonia", "covid")
    zones = [f"severity_zone_{number}" for number in range(6)]
    assert list(table.columns) == signed == ["label", *(f"probability_{name}" for name in classes), *zones]
    odds = np.exp(raw[:, :3])
    np.testing.assert_allclose(table.iloc[:, 1:4], odds / odds.sum(1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(table[zones], raw[:, 3:], rtol=1e-5)
    assert list(table["label"]) == [classes[i] for i in raw[:, :3].argmax(1)]


def test_a_head_that_was_never_trained_is_neither_registered_nor_served(here, records):
    from medtransfer.tracking.serving import ImageClassifier

    heads = {name: head.model_copy(update={"trained": False}) for name, head in CLASSES.items()}
    folder = fit(here / "weights", 0, heads)
    expected = r"weights: head 'label' was never trained, so there is nothing to serve; register a fine-tuned network"
    with pytest.raises(ModelError, match=expected):
        register_model(folder, records=records)
    assert client().search_registered_models() == []
    with pytest.raises(ModelError, match=expected):
        ImageClassifier().load_context(SimpleNamespace(artifacts={"weights": str(folder / "model.safetensors")}))


@pytest.mark.slow
def test_packages_that_are_not_installed_are_one_line_and_nothing_is_registered(here, records, monkeypatch):
    monkeypatch.setattr("medtransfer.tracking.requirements.PACKAGES", ("numpy", "absent-one", "absent-two"))
    fit(here / "w", 0)
    with pytest.raises(ModelError, match=r"^not installed here: absent-one, absent-two; .*: run make setup") as failed:
        register_model(here / "w", records=records)
    assert "\n" not in str(failed.value)
    assert not client().search_model_versions("name = 'covid-ct'")
    assert not client().search_logged_models([client().get_experiment_by_name("attentive_transfer").experiment_id])


def installed_by(pins):
    """Return the distributions that an environment of these pins has: they, and what they require."""
    found, waiting = set(), [canonicalize_name(pin.partition("==")[0]) for pin in pins]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            needed = (Requirement(line) for line in metadata.requires(name) or ())
            waiting += [canonicalize_name(each.name) for each in needed if not each.marker or each.marker.evaluate()]
    return found


CLEAN = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, path=None, target=None: (
    None if name.partition(".")[0] in {absent!r} else find(name, path, target)
)
import mlflow, numpy as np
from pathlib import Path
model = mlflow.pyfunc.load_model("models:/covid-ct@champion")
print(len(model.predict(np.full((3, 1, 50, 60), 9, np.float32))))
file = Path("image.png")
print(model.predict([file]).equals(model.predict([file.read_bytes()])))
"""


def test_a_clean_process_that_has_the_pins_alone_loads_the_champion_with_pickles_refused(here, registered):
    (pins,) = [path.read_text().split() for path in stored_files(here) if path.name == "requirements.txt"]
    there, absent = installed_by(pins), set()
    for module, owners in metadata.packages_distributions().items():
        if not {canonicalize_name(owner) for owner in owners} & (there | {"medtransfer", "pip", "setuptools"}):
            absent.add(module)
    assert {"pytest", "dvc", "optuna"} <= absent
    Image.fromarray(np.arange(3000, dtype=np.uint8).reshape(50, 60)).save(here / "image.png")
    uri = f"sqlite:///{here / 'mlflow.db'}"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    script = CLEAN.format(absent=absent)
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, cwd=here)
    assert result.stdout.split() == ["3", "True"], result.stderr


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_swapped_files_are_noticed(here, registered, file):
    (stored,) = [path for path in stored_files(here) if path.name == file]
    stored.write_bytes(stored.read_bytes()[:-1] + b"!")
    with pytest.raises(TrackingError, match=f"{file} is not the registered file"):
        fetch_model("models:/covid-ct@champion")
    assert not (here / ".scratch" / "models" / "covid-ct-1" / file).exists()


def test_rollback_goes_back_one_version_after_the_other(here, registered, records):
    for seed in (1, 2):
        crowned(fit(here / f"weights{seed}", seed), records, f"better {seed}")
    assert client().get_model_version_by_alias(NAME, "champion").version == 3
    rollback(NAME, "champion", why="worse outside")
    assert client().get_model_version_by_alias(NAME, "champion").version == 2
    rollback(NAME, "champion")
    assert client().get_model_version_by_alias(NAME, "champion").version == 1
    with pytest.raises(TrackingError, match="no earlier version to go back to"):
        rollback(NAME, "champion")
    log = promotions(NAME, "champion")
    assert [(entry.previous, entry.version) for entry in log] == [(0, 1), (1, 2), (2, 3), (3, 2), (2, 1)]
    assert log[3].why == "worse outside"
    assert [entry.time for entry in log] == sorted(entry.time for entry in log)


def test_the_command_line_shows_and_moves_an_alias(here, registered, records, capsys, monkeypatch):
    assert run(["registry", "log", NAME, "--alias", "shadow"]) == 0
    assert capsys.readouterr().out == "covid-ct@shadow: never promoted\n"
    crowned(fit(here / "weights1", 1), records, "better")
    assert run(["registry", "rollback", NAME, "--why", "worse outside"]) == 0
    assert client().get_model_version_by_alias(NAME, "champion").version == 1
    assert run(["registry", "promote", NAME, "--version", "2", "--alias", "shadow", "--why", "to watch"]) == 0
    assert client().get_model_version_by_alias(NAME, "shadow").version == 2
    capsys.readouterr()
    assert run(["registry", "log", NAME]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" · ")[2] for line in lines] == ["version 1", "version 1 → 2", "version 2 → 1"]
    assert lines[1].endswith(" · pipeline · better · override: a test")
    assert lines[2].endswith(f"covid-ct@champion · version 2 → 1 · {getuser()} · worse outside")
    monkeypatch.setattr(registry, "getuser", lambda: {}["no such user"])
    line = ["registry", "promote", NAME, "--version", "2", "--why", "fixed"]
    assert run(line) == 3
    assert "covid-ct version 2 may not be promoted: gate champion:" in capsys.readouterr().err
    assert run([*line, "--override", "seen by two readers"]) == 0
    assert "version 1 → 2 · a user without a name · fixed · override: seen by two" in capsys.readouterr().out
    run(["registry", "rollback", NAME, "--why", "no"])
    assert run(["registry", "rollback", NAME, "--why", "again"]) == 2
    assert "no earlier version to go back to" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tag", "value"),
    [("audit", "failed: shortcut"), ("gate", "closed"), ("gate.leaks", "closed: 3"), ("gate.fair", "failed")],
)
def test_a_closed_gate_stops_a_promotion(here, registered, tag, value):
    client().set_model_version_tag(NAME, "1", tag, value)
    with pytest.raises(GateClosed, match=f"covid-ct version 1 may not be promoted: gate .* is closed: {value}"):
        promote(NAME, 1, "challenger", "looks good")
    assert promotions(NAME, "challenger") == []


def test_mistakes_are_named(here, registered, records):
    with pytest.raises(TrackingError, match="needs a reason"):
        promote(NAME, 1, "champion", " ")
    with pytest.raises(TrackingError, match="there is no version 9"):
        promote(NAME, 9, "champion", "x")
    with pytest.raises(TrackingError, match="other: no such registered model"):
        promote("other", 1, "champion", "x")
    with pytest.raises(TrackingError, match="names no model: write models:/<name>@<alias>"):
        fetch_model("models:/../x")
    with pytest.raises(TrackingError, match="models:/covid-ct@best: no such version; aliases: @champion; versions: 1"):
        fetch_model("models:/covid-ct@best")
    with pytest.raises(TrackingError, match="model name or alias"):
        register_model(here / "weights", records=records, name="../x")
    config = here / "weights" / "config.json"
    config.write_text(json.dumps({"heads": {}, "preprocessing": {"channels": 1}}))
    with pytest.raises(ModelError, match=r"config\.json: lacks heads: run the stage that writes it again"):
        register_model(here / "weights", records=records)
    config.unlink()
    with pytest.raises(ModelError, match=r"no config\.json, expected the weights of a finished fit"):
        register_model(here / "weights", records=records)


def test_validation_predictions_come_back_by_the_models_address(here, records):
    table = pd.DataFrame({"image_id": ["a", "b"], "split": "val", "score": [0.2, 0.7], "target": [0.0, 1.0]})
    about = About(tags={"network": "test", "gate.leaks": "open: 0 pairs"}, validation=table)
    assert register_model(fit(here / "w", 0), records=records, about=about, name=NAME) == 1
    pd.testing.assert_frame_equal(fetch_validation(f"models:/{NAME}/1"), table)
    register_model(fit(here / "without", 1), records=records, about=About(tags=about.tags), name=NAME)
    with pytest.raises(TrackingError, match=r"validation\.parquet"):
        fetch_validation(f"models:/{NAME}/2")


@pytest.mark.parametrize("file", ["shift.safetensors", "calibration.json"])
def test_a_version_that_lost_a_file_is_registered_again(file, here, records):
    (here / "s").write_bytes(b"statistics")
    about = About(tags={"gate.leaks": "open: 0 pairs"}, shift=here / "s", temperatures={"covid": 2.0})
    assert register_model(fit(here / "w", 0), records=records, about=about, name=NAME) == 1
    (stored,) = [each for each in stored_files(here) if each.name == file]
    stored.unlink()
    assert register_model(here / "w", records=records, about=about, name=NAME) == 2
    assert (fetch_model(f"models:/{NAME}/2", folder=here / "got") / file).exists()


def test_a_version_from_before_statistics_gets_them(here, records):
    (here / "s").write_bytes(b"statistics")
    about = About(tags={"gate.leaks": "open: 0 pairs"})
    assert register_model(fit(here / "w", 0), records=records, about=about, name=NAME) == 1
    later = dataclasses.replace(about, shift=here / "s")
    assert [register_model(here / "w", records=records, about=later, name=NAME) for _ in range(2)] == [2, 2]


def test_a_store_that_fails_leaves_what_was_fetched(here, records, monkeypatch):
    (here / "s").write_bytes(b"statistics")
    about = About(tags={"gate.leaks": "open: 0 pairs"}, shift=here / "s")
    register_model(fit(here / "w", 0), records=records, about=about, name=NAME)
    kept = fetch_model(f"models:/{NAME}/1", folder=here / "got")

    def down(*given):
        raise TrackingError("the store does not answer")

    monkeypatch.setattr(fetching, "checked_download", down)
    with pytest.raises(TrackingError, match="does not answer"):
        fetch_model(f"models:/{NAME}/1", folder=here / "got")
    assert (kept / SHIFT).read_bytes() == b"statistics"


def test_statistics_of_training_images_travel_with_their_hash(here, registered, records):
    (here / "s").write_bytes(b"statistics")
    about = About(tags={"gate.leaks": "open: 0 pairs"}, shift=here / "s")
    register_model(fit(here / "other", 1), records=records, about=about, name=NAME)
    assert (fetch_model(f"models:/{NAME}/2", folder=here / "got") / SHIFT).read_bytes() == b"statistics"
    fetch_model(f"models:/{NAME}/1", folder=here / "got")
    assert not (here / "got" / SHIFT).exists()
    (stored,) = [file for file in stored_files(here) if file.name == SHIFT]
    stored.write_bytes(b"others")
    with pytest.raises(TrackingError, match="not the registered file"):
        fetch_model(f"models:/{NAME}/2", folder=here / "got")
    assert (version_of(f"models:/{NAME}@champion"), version_of(f"models:/{NAME}/2")) == (1, 2)
