"""``mlflow models serve`` itself: what is outside the contract is a 4xx, what is inside gives a table."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode

import numpy as np
import pytest
from PIL import Image

from medtransfer.files import read_json
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.weights import save_weights
from medtransfer.tracking import registry
from network_heads import class_heads

pytestmark = pytest.mark.slow
WAIT = 240
NETWORK = NetworkConfig(backbone="test_resnet")
PREPROCESSING = {"size": 40, "crop": 32, "channels": 1, "equalize": False, "mean": [0.5], "std": [0.3]}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    extra = {"dataset": "old", "positive": "covid"}
    heads = class_heads(("non-covid", "covid"))
    save_weights(
        build_network(NETWORK, 2, seed=0),
        folder / "w",
        config=NETWORK,
        heads=heads,
        preprocessing=PREPROCESSING,
        extra=extra,
    )
    registry._save(folder / "model", folder / "w", read_json(folder / "w/config.json"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "mlflow", "models", "serve", "-m", "model", "--env-manager", "local", "-p", str(port)]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, *command], cwd=folder, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    try:
        _wait(f"http://127.0.0.1:{port}/ping", server, folder / "log")
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def _wait(address, server, log):
    for _ in range(WAIT):
        try:
            urllib.request.urlopen(address, timeout=2).close()
        except OSError:
            assert server.poll() is None, log.read_text()
            time.sleep(1)
        else:
            return
    pytest.fail(log.read_text())


def ask(url, images):
    body = json.dumps({"inputs": images}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_only_grey_levels_and_image_files_are_answered(url, tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (2, 1, 40, 40))
    status, answer = ask(url, levels.tolist())
    assert status == 200
    assert [set(row) for row in answer["predictions"]] == [{"label", "probability_non-covid", "probability_covid"}] * 2
    assert ask(url, levels.astype(float).tolist()) == (status, answer)
    Image.fromarray(levels[0, 0].astype(np.uint8)).save(here := tmp_path / "0.png")
    coded = b64encode(here.read_bytes()).decode()
    status, alone = ask(url, [coded])
    assert status == 200
    assert alone["predictions"][0] == pytest.approx(answer["predictions"][0], abs=1e-6)
    wrong = {
        "a path": [str(here)],
        "a damaged file": [coded[: len(coded) // 8 * 4]],
        "text of no image": [b64encode(b"text").decode()],
        "files and arrays": [coded, levels[0].tolist()],
        "numbers": 7,
        "objects": {"a": [1]},
        "scaled to 0–1": (levels / 255).tolist(),
        "fractions": (levels * 0.99).tolist(),
        "negative": (levels - 1000).tolist(),
        "above": (levels + 100).tolist(),
        "no channel": levels[:, 0].tolist(),
        "colour": np.repeat(levels, 3, axis=1).tolist(),
        "text": "image",
        "nothing": [],
        "ragged": [levels[0].tolist(), [[[1, 2]]]],
    }
    assert {name: ask(url, images)[0] // 100 for name, images in wrong.items()} == dict.fromkeys(wrong, 4)
