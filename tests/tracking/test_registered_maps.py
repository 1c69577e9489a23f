"""One multi-task model pulled from the registry gives all of its answers, in a fresh process too."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import medtransfer as mt
from medtransfer.data.manifest import ZONES
from medtransfer.data.phantom.cxr import CxrConfig, draw_cxr
from medtransfer.data.phantom.scanner import CXR_SCANNERS
from medtransfer.errors import TrackingError
from medtransfer.evaluation.calibration import at_temperature
from medtransfer.models.classifier import build_network
from medtransfer.models.heads import Head
from medtransfer.models.weights import save_weights
from medtransfer.tracking import About, fetch_model, finish, open_run, promote, register_model
from medtransfer.tracking.gates import examine
from medtransfer.tracking.store import client
from network_heads import GREY, ZONES_NETWORK, ZONES_SIDE

CLASSES = ("normal", "other", "covid")
PREPARED = {**GREY, "size": ZONES_SIDE, "crop": ZONES_SIDE, "masks": "files", "segmenter": "lung_fields"}
HEADS = {
    "label": Head(outputs=CLASSES, activation="sigmoid", kind="probability", exclusive=True),
    "zones": Head(outputs=ZONES, activation="sigmoid", kind="severity"),
}
TEMPERATURES = {"normal": 2.0, "other": 1.0, "covid": 0.5}
ADDRESS = "models:/chest-multitask@champion"
PROGRAM = f"""
from pathlib import Path
import numpy, mlflow, medtransfer as mt
model, images = mt.load_model("{ADDRESS}"), ["x.png"]
mt.predict(model, images).to_json("answer.json", orient="records")
served = mlflow.pyfunc.load_model("{ADDRESS}")
served.predict([Path("x.png")]).to_json("served.json", orient="records")
relevance = mt.explain_images(model, images, output="covid", explainer="relevance")
numpy.savez("maps.npz", relevance=relevance, severity=mt.explain_images(model, images, explainer="severity_map"))
"""


@pytest.fixture
def chest(here, spec):
    """``chest-multitask@champion`` with temperatures, and a drawn X-ray ``x.png`` in the working folder."""
    with open_run(spec, here / "records") as tracker:
        tracker.metrics({"val/auroc": 0.8}, 0)
    finish(here / "records")
    network = build_network(ZONES_NETWORK, len(CLASSES) + len(ZONES), seed=0)
    save_weights(network, here / "w", config=ZONES_NETWORK, heads=HEADS, preprocessing=PREPARED, extra={"positive": ""})
    tags = {"network": "test", "metric": "auroc", "gate.leaks": "open: 0 pairs"}
    about = About(tags=tags, temperatures=TEMPERATURES)
    version = register_model(here / "w", records=here / "records", name="chest-multitask", about=about)
    promote("chest-multitask", version, "champion", "best", override="a test")
    rng = np.random.default_rng
    drawn = draw_cxr(rng(1), rng(2), "covid", CXR_SCANNERS[0], CxrConfig(size=ZONES_SIDE))
    Image.fromarray(drawn.image).save(here / "x.png")
    return here


def test_the_severity_map_is_zero_outside_the_lungs_and_its_maxima_are_the_zones(chest):
    model = mt.load_model(ADDRESS)
    (heat,), (row,) = (
        mt.explain_images(model, "x.png", explainer="severity_map"),
        mt.predict(model, "x.png").to_dict("records"),
    )
    assert heat.shape == (ZONES_SIDE, ZONES_SIDE)
    assert row["lungs"] == "segmenter"
    assert 0 < (heat > 0).mean() < 0.9
    assert heat.max() == pytest.approx(max(row[f"severity_{zone}"] for zone in ZONES), abs=1e-6)
    left = np.zeros((ZONES_SIDE, ZONES_SIDE), np.uint8)
    left[8:56, :32] = 255
    masked = np.stack([np.asarray(Image.open("x.png")), left])[None]
    (own,) = mt.explain_images(model, masked, explainer="severity_map")
    np.testing.assert_array_equal(own > 0, left > 0)


def test_temperatures_are_part_of_the_version_and_checked_by_their_hash(chest):
    folder = fetch_model(ADDRESS)
    assert (folder / "calibration.json").exists()
    stored = next((chest / "mlartifacts").rglob("calibration.json"))
    text = stored.read_text(encoding="utf-8")
    stored.write_text(text.replace("0.5", "0.6"), encoding="utf-8")
    with pytest.raises(TrackingError, match=r"calibration.json is not the registered file"):
        fetch_model(ADDRESS)
    assert {one.gate: one.state for one in examine(client(), "chest-multitask", 1)}["weights"] == "closed"


@pytest.mark.slow
def test_a_fresh_process_gets_calibrated_probabilities_severities_score_and_both_maps(chest):
    import pandas as pd

    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{chest / 'mlflow.db'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answer, served = (pd.read_json(f"{name}.json", orient="records") for name in ("answer", "served"))
    pd.testing.assert_frame_equal(answer, served)
    for name, temperature in TEMPERATURES.items():
        expected = at_temperature(answer[f"probability_{name}"], temperature)
        np.testing.assert_allclose(answer[f"calibrated_{name}"], expected, rtol=1e-6)
    assert {f"severity_{zone}" for zone in ZONES} | {"severity_score", "label"} <= {*answer}
    model, maps = mt.load_model(ADDRESS), np.load("maps.npz")
    here = {"relevance": {"output": "covid", "explainer": "relevance"}, "severity": {"explainer": "severity_map"}}
    for name, asked in here.items():
        np.testing.assert_allclose(maps[name], mt.explain_images(model, "x.png", **asked), atol=1e-4)
