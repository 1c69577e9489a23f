"""The Python blocks of the front page run in a fresh process against a store, MLflow's without a pickle."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.weights import save_weights
from medtransfer.tracking import About, finish, open_run, promote, register_model
from network_heads import class_heads

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
NO_PICKLE = """
import sys

def refuse(event, arguments):
    if event == "pickle.find_class":
        raise AssertionError(f"a pickle was read: {arguments}")

sys.addaudithook(refuse)
"""
"""A process that reads any pickled object fails."""
PREPROCESSING = {"size": 40, "crop": 32, "channels": 1, "equalize": False, "window": None, "mean": [0.4], "std": [0.2]}


@pytest.fixture
def champion(here, spec):
    """``covid-ct@champion``, ``scan.png`` and ``mine.csv`` in the working folder."""
    with open_run(spec, here / "records") as tracker:
        tracker.metrics({"val/auroc": 0.8}, 0)
    finish(here / "records")
    config, heads = NetworkConfig(backbone="test_resnet"), class_heads(("non-covid", "covid"))
    fit = {"study": "toy", "variant": "test_resnet", "condition": "none", "seed": "3"}
    extra = {"dataset": "old", "positive": "covid", "fit": fit}
    network = build_network(config, 2, seed=0)
    save_weights(network, here / "w", config=config, heads=heads, preprocessing=PREPROCESSING, extra=extra)
    about = About(tags={"network": "test", "metric": "auroc", "gate.leaks": "open: 0 pairs"})
    version = register_model(here / "w", records=here / "records", about=about)
    promote("covid-ct", version, "champion", "best", override="a test")
    draw = np.random.default_rng(0)
    names = ["scan.png", *(f"{number}.png" for number in range(11))]
    for name in names:
        Image.fromarray(draw.integers(0, 256, (40, 40), dtype=np.uint8)).save(here / name)
    rows = [(name, name, ("covid", "non-covid")[number % 2]) for number, name in enumerate(names)]
    pd.DataFrame(rows, columns=["image", "patient_id", "label"]).to_csv(here / "mine.csv", index=False)
    return here


def test_the_blocks_of_the_front_page_run(champion):
    functions, plain = BLOCKS
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{champion / 'mlflow.db'}", "OMP_NUM_THREADS": "1"}
    run(functions, environment)
    program = NO_PICKLE + plain + "import medtransfer\nprint(model.predict([Path('scan.png')]), medtransfer.__file__)\n"
    said = run(program, environment | {"PYTHONPATH": ""}, "-P")
    assert "probability_covid" in said
    assert str(ROOT / "src") not in said, "the stored code should have been used"


def run(program, environment, *options):
    command = [sys.executable, *options, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
