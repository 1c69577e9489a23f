"""The model behind the server: it follows a moving alias, and the page shows its reply."""

import asyncio
import base64
import json
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
import uvicorn
from fastapi.responses import HTMLResponse
from PIL import Image
from starlette.testclient import TestClient

from medtransfer.errors import TrackingError
from medtransfer.serving.app import Limits, build_app
from medtransfer.stages import serving
from report_fixtures import CHROMIUM, QUIET

NAME = "models:/toy@champion"


@pytest.fixture
def store(monkeypatch):
    """A registry of one alias whose versions answer with their number."""
    now = SimpleNamespace(version=1, broken=())

    def load(name, version):
        if version in now.broken:
            raise TrackingError(f"version {version}: model.safetensors is not the registered file")
        return serving.Loaded(version, SimpleNamespace(description={"sha256": f"{version}" * 64}), card="# Card")

    monkeypatch.setattr(serving, "version_of", lambda name: now.version)
    monkeypatch.setattr(serving, "load_version", load)
    monkeypatch.setattr(serving, "answer", lambda loaded, data, wants_map: {"answer": {"by": loaded.version}})
    return now


def client_of(served):
    app = build_app(served, served.about, Limits(hosts=("testserver", "127.0.0.1")), page=served.page)
    return TestClient(app)


def test_an_alias_that_moves_during_requests_is_followed_and_each_reply_names_who_answered(store):
    with client_of(serving.Served(NAME, every=0.0)) as client, ThreadPoolExecutor(8) as clients:

        def ask(number):
            if number == 40:
                store.version = 2
            return client.post("/predict", content=b"1").json()

        replies = list(clients.map(ask, range(80)))
        assert {reply["answer"]["by"] for reply in replies} == {1, 2}
        for reply in replies:
            assert (reply["version"], reply["sha256"][0]) == (str(reply["answer"]["by"]),) * 2
        assert client.get("/health").json()["version"] == "2"
        assert 'Version <span id="version">2' in client.get("/").text


def test_a_version_that_does_not_load_leaves_the_old_one_and_health_says_so(store, monkeypatch):
    monkeypatch.setattr(serving, "AFTER_TROUBLE", 0.0)
    with client_of(serving.Served(NAME, every=0.0)) as client:
        store.version, store.broken = 2, (2,)
        assert client.post("/predict", content=b"1").json()["version"] == "1"
        assert "not the registered file" in client.get("/health").json()["not_followed"]
        store.broken = ()
        assert client.post("/predict", content=b"1").json()["version"] == "2"
        assert "not_followed" not in client.get("/health").json()


def test_a_store_that_is_down_is_asked_again_after_a_minute(store, monkeypatch):
    served, now, asked = serving.Served(NAME, every=2.0), [100.0], []

    def down(name):
        asked.append(now[0])
        now[0] += 20.0  # a server that does not answer
        raise TrackingError("the tracking server does not answer")

    monkeypatch.setattr(serving, "version_of", down)
    monkeypatch.setattr(serving.time, "monotonic", lambda: now[0])
    served.due = 0.0
    for _ in range(70):
        assert served(b"1", False)["not_followed"]
        now[0] += 1.0
    assert asked == [100.0, 180.0]


def test_a_version_is_not_followed(store):
    served = serving.Served("models:/toy/1", every=0.0)
    store.version = 2
    assert served(b"1", False)["version"] == "1"


ZONES = {f"severity_zone_{number}": number / 10 for number in range(6)}
REPLY = {
    "answer": {"label": "covid", "probability_covid": 0.75, **ZONES},
    "words": {"covid": "of 12 validation images with a score of 0.6 to 0.8, 9 were covid (75%)"},
    "zones": [[0.0, 0.1, 0.2], [0.3, 0.4, 0.5]],
    "flags": ["in colour, the model reads grey images"],
    "unlike_training": ["in colour", "mean grey level 200, expected 70 to 130"],
    "explained": "covid",
}


@pytest.fixture
def serve_app():
    """Serve an application on a free port; return its address."""
    running = []

    def serve(app):
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield serve
    for server, thread in running:
        server.should_exit = True
        thread.join(30)


@pytest.mark.chromium
@pytest.mark.slow
def test_the_page_shows_the_answer_in_a_browser(serve_app, tmp_path):
    """The page is asked with an image through its own file input, as a user would."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    buffer = BytesIO()
    Image.fromarray(np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))).save(buffer, format="PNG")
    image = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    about = {"model": NAME, "version": "3", "sha256": "ab" * 32, "notice": serving.NOTICE}

    def answer(data, wants_map):
        assert data == buffer.getvalue()
        return {**REPLY, "map": image} if wants_map else REPLY

    app = build_app(answer, lambda: about, Limits(), page=lambda: {"card": "# Card <b>", "follows": True})
    choose = (
        f"<script>const bytes = Uint8Array.from(atob({json.dumps(image.partition(',')[2])}), (c) => c.charCodeAt(0));"
        "const given = new DataTransfer(); given.items.add(new File([bytes], 'ramp.png'));"
        "at('file').files = given.files; at('file').dispatchEvent(new Event('change'));</script></body>"
    )

    page = TestClient(app, base_url="http://localhost").get("/").text.replace("</body>", choose)

    @app.get("/chosen")
    async def chosen():
        return HTMLResponse(page)

    address = serve_app(app)
    command = [CHROMIUM, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000"]
    done = subprocess.run(
        [*command, "--window-size=1000,1200", "--dump-dom", f"{address}/chosen"],
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    shown = done.stdout
    assert "of 12 validation images" in shown
    assert "mean grey level 200, expected 70 to 130" in shown
    assert shown.count("in colour") == 1 + choose.count("in colour")
    assert "severity zone" not in shown
    for level, right, left in (("upper", "0.000", "0.300"), ("lower", "0.200", "0.500")):
        assert f"<th>{level}</th><td>{right}</td><td>{left}</td>" in shown
    assert 'alt="Grad-CAM of covid over the image"' in shown
    assert "# Card &lt;b&gt;" in shown
