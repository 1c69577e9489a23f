"""What the front page and the tour do with a registered model runs as it is shown, in fresh processes."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medtransfer.cli import build_parser
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.weights import save_weights
from medtransfer.tracking import About, finish, open_run, promote, register_model
from network_heads import class_heads

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
SHOWN = [
    shlex.split(line, comments=True)
    for page in ("README.md", "docs/tour.md")
    for block in re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    for line in block.splitlines()
]
"""The commands of the front page and of the tour, in words."""
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
    """``covid-ct@champion``, ``scan.png`` and ``mine.csv`` in the working folder, the same images as ``ct_outside``."""
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
    table = pd.DataFrame(rows, columns=["image", "patient_id", "label"])
    table.to_csv(here / "mine.csv", index=False)
    outside = here / "data" / "ct_outside"
    (outside / "images").mkdir(parents=True)
    for number, name in enumerate(names):
        (outside / "images" / f"{number:04}.png").write_bytes((here / name).read_bytes())
    table.assign(image=[f"images/{n:04}.png" for n in range(len(names))]).to_csv(outside / "labels.csv", index=False)
    return here


def test_the_blocks_of_the_front_page_run(champion):
    functions, plain = BLOCKS
    environment = environment_of(champion)
    run(functions, environment)
    program = NO_PICKLE + plain + "import medtransfer\nprint(model.predict([Path('scan.png')]), medtransfer.__file__)\n"
    said = run(program, environment | {"PYTHONPATH": ""}, "-P")
    assert "probability_covid" in said
    assert str(ROOT / "src") not in said, "the stored code should have been used"


@pytest.fixture
def served(champion):
    """The server as it is shown, on a free port; the words that ask it, with that port."""
    (command,) = {tuple(words) for words in SHOWN if words[:2] == ["medtransfer", "serve"]}
    usual = str(build_parser().parse_args(command[1:]).port)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    with subprocess.Popen(ours(*command, "--port", port), cwd=champion, env=environment_of(champion)) as server:
        try:
            for _ in range(600):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                        break
                assert server.poll() is None
                time.sleep(0.2)
            yield lambda words: [word.replace(f":{usual}/", f":{port}/") for word in words]
        finally:
            server.terminate()


def test_the_server_answers_the_requests_that_are_shown(champion, served):
    asked = [words for words in SHOWN if words[0] == "curl"]
    assert len(asked) == 2
    for words in asked:
        with_port = served(words)
        assert with_port != words
        done = subprocess.run([*with_port, "-s"], cwd=champion, capture_output=True, text=True, check=True)
        reply = json.loads(done.stdout)
        assert (reply["model"], reply["version"]) == ("models:/covid-ct@champion", "1")
        assert reply["answer"]["probability_covid"] == pytest.approx(1 - reply["answer"]["probability_non-covid"])


def test_the_commands_that_ask_a_model_run_as_they_are_shown(champion):
    asked = {tuple(words) for words in SHOWN if words[:1] == ["medtransfer"] and words[1] in ("predict", "evaluate")}
    assert {words[1] for words in asked} == {"predict", "evaluate"}
    for words in asked:
        command, environment = ours(*words), environment_of(champion)
        done = subprocess.run(command, cwd=champion, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert (champion / "maps" / "0006-map.png").is_file()
    assert "auroc" in (champion / "out" / "evaluate" / "report.md").read_text(encoding="utf-8")


def ours(program, *words):
    assert program == "medtransfer"
    return [sys.executable, "-m", "medtransfer", *words]


def environment_of(folder):
    return os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", "OMP_NUM_THREADS": "1"}


def run(program, environment, *options):
    command = [sys.executable, *options, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
