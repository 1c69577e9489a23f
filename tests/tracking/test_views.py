"""A saved view is an experiment's tag and a link; the real UI opens the comparison from that link."""

import asyncio
import base64
import json
import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from mlflow import MlflowClient
from sqlalchemy.exc import OperationalError

from medtransfer.errors import TrackingError
from medtransfer.tracking import RunSpec, RunView, open_run, save_view
from medtransfer.tracking.store import client

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VIEW = RunView(
    name="Attention against convolution",
    query="tags.study = 'attentive_transfer' and tags.phase = 'finetune'",
    group_by="attention",
    metric="test/auroc_covid",
    columns=("test/auprc_covid",),
    tags=("chain_title",),
)
AUROC = {("0 ATTN", 0): 0.625, ("0 ATTN", 1): 0.75, ("5 ATTN", 0): 0.75, ("5 ATTN", 1): 0.875}  # made up


def record(name, tags, values):
    spec = RunSpec(experiment="attentive_transfer", name=name, tags={"study": "attentive_transfer", **tags})
    with open_run(spec, Path(name)) as tracker:
        tracker.metrics(values, 0)


def test_a_view_is_saved_once_under_its_name_and_its_link_names_the_experiment(here):
    record("run", {"phase": "finetune"}, {"test/auroc_covid": 0.5})
    link = save_view("attentive_transfer", VIEW)
    assert save_view("attentive_transfer", VIEW) == link
    experiment = client().get_experiment_by_name("attentive_transfer")
    assert link.startswith(f"http://127.0.0.1:5000/#/experiments/{experiment.experiment_id}/runs?")
    views = {key: value for key, value in experiment.tags.items() if key.startswith("mlflow.sharedViewState.")}
    assert list(views) == ["mlflow.sharedViewState.attention-against-convolution"]
    state = json.loads(json.loads(views.popitem()[1])["state"])
    assert state["searchFilter"] == VIEW.query
    assert state["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "attention"}]


def test_a_view_of_an_experiment_without_runs_is_refused(here):
    with pytest.raises(TrackingError, match=r"mlflow\.db: no experiment 'nothing' to save a view in: run a fit first"):
        save_view("nothing", VIEW)


def test_a_full_disk_is_one_line(here, monkeypatch):
    record("run", {"phase": "finetune"}, {"test/auroc_covid": 0.5})

    def full(*arguments):
        raise OperationalError("INSERT INTO experiment_tags", {}, Exception("database or disk is full"))

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", full)
    with pytest.raises(TrackingError, match=r"mlflow\.db: the tracking store has no room left on its disk: make room"):
        save_view("attentive_transfer", VIEW)


def test_a_store_that_is_down_costs_a_warning(here, caplog):
    assert save_view("attentive_transfer", VIEW, uri="postgresql+psycopg://ann:secret@127.0.0.1:9/runs") is None
    assert "the view 'Attention against convolution' was not saved" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.chromium
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_link_opens_the_comparison_in_the_real_ui_without_opening_a_run(here, server, checkout):
    for (attention, seed), auroc in AUROC.items():
        tags = {"phase": "finetune", "attention": attention, "chain_title": "stl_n→stl_m"}
        name = f"made up · resnet50 {attention} · seed {seed}"
        record(name, tags, {"test/auroc_covid": auroc, "test/auprc_covid": auroc - 0.125})
    record("made up · pretraining", {"phase": "stl_n", "attention": "0 ATTN"}, {"val/top_1": 0.5})
    server.start()
    link = save_view("attentive_transfer", VIEW, uri=server.uri)
    images = checkout / os.environ.get("MEDTRANSFER_SCREENSHOTS", here)
    asyncio.run(look(link, here / "profile", images))


async def look(link, profile, images):
    async with browser(profile) as page:
        await page.open(link)
        await page.until("page().includes('4 matching runs') && bars('test/auroc_covid').length == 2")
        assert sorted(await page.value("bars('test/auroc_covid')")) == ["0.69", "0.81"]
        text = await page.value("card('test/auroc_covid').innerText")
        assert "0 ATTN" in text
        assert "5 ATTN" in text
        assert VIEW.name in await page.value("page()")  # the title of the button that lists the views
        await page.close_assistant()
        await page.image(images / "mlflow_chart.png")

        await page.open(link.replace("compareRunsMode=CHART", "compareRunsMode=TABLE"))
        await page.until("Object.values(rows()).filter(row => row.includes('(average)')).length == 2")
        means = {row.split("Group: ")[1][:6]: row for row in (await page.value("rows()")).values() if "Group: " in row}
        assert "0.6875 (average)" in means["0 ATTN"]
        assert "0.8125 (average)" in means["5 ATTN"]
        assert "pretraining" not in await page.value("page()")
        await page.image(images / "mlflow_table.png")


LOOKS = """
const page = () => document.body.innerText
const cards = () => [...document.querySelectorAll('[data-testid="experiment-view-compare-runs-card"]')]
const card = title => cards().find(card => card.innerText.trim().startsWith(title))
const bars = title => [...(card(title)?.querySelectorAll('.barlayer .bartext') ?? [])].map(text => text.textContent)
const rows = () => {  // a row of the table lies in several containers
  const found = {}
  for (const row of document.querySelectorAll('.ag-row'))
    found[row.getAttribute('row-id')] = (found[row.getAttribute('row-id')] ?? '') + ' ' + row.innerText
  return found
}
"""


class Page:
    """A tab of a real browser, driven through its debugging socket."""

    def __init__(self, socket):
        self._socket = socket
        self._number = 0

    async def call(self, method, **options):
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": options})
        while (answer := await self._socket.receive_json(timeout=30)).get("id") != self._number:
            pass  # an event
        return answer["result"]

    async def value(self, script):
        found = await self.call("Runtime.evaluate", expression=f"{{{LOOKS};{script}}}", returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, script):
        for _ in range(450):  # a busy machine is slow
            if await self.value(script):
                return
            await asyncio.sleep(0.2)
        raise AssertionError(f"never: {script}\n{await self.value('page()')}")

    async def open(self, link):
        await self.call("Page.navigate", url=link)
        await self.until("document.querySelector('[data-testid=\"saved-views-trigger\"]')?.innerText")

    async def close_assistant(self):
        button = "document.querySelector('[data-component-id=\"mlflow.assistant.chat_panel.close\"]')"
        await self.until(f"!!{button}")
        await self.value(f"{button}.click()")
        await self.until(f"!{button}")

    async def image(self, path):
        await asyncio.sleep(1)  # charts grow into the room that the panel left
        taken = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(taken["data"]))


@asynccontextmanager
async def browser(profile):
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    alone = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    process = subprocess.Popen(
        [CHROMIUM, *quiet, alone, f"--user-data-dir={profile}", "--remote-debugging-port=0"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        note = profile / "DevToolsActivePort"
        for _ in range(600):
            if note.exists() and note.read_text().count("\n"):
                break
            await asyncio.sleep(0.1)
        port = note.read_text().splitlines()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                tab = next(target for target in await answer.json() if target["type"] == "page")
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                window = {"width": 1360, "height": 720, "deviceScaleFactor": 1, "mobile": False}
                await page.call("Emulation.setDeviceMetricsOverride", **window)
                yield page
    finally:
        process.terminate()
        process.wait()
