"""What the two servers take: ``make ui`` until it answers, ``medtransfer serve`` under fifty requests at once.

Both are started by their own command in a process of their own. Memory is that of the process and all its children,
sampled every 50 ms: ``peak_mb`` is proportional (PSS, what the machine gives), ``peak_rss_mb`` counts shared pages once
a process. Wall times hold for the load of the moment, which each row has; CPU time is that of the same processes.

    OMP_NUM_THREADS=2 PYTHONPATH=src python benchmarks/bench_serving.py [sqlite:////PLACE/mlflow.db]

With an address the interface is measured on that store too.
"""

import http.client
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from harness import record
from PIL import Image

from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.heads import Head
from medtransfer.models.insertion import AttentionConfig
from medtransfer.models.weights import save_weights
from medtransfer.tracking import About, RunSpec, finish, open_run, prepare_store, promote, register_model

GOAL = (
    "make ui answers within 6 s and under 1 GB; the server holds 50 requests at once on two cores without an error "
    "other than 503, with a bounded memory"
)
ROOT = Path(__file__).parent.parent
NETWORK = NetworkConfig(backbone="resnet18", attention=AttentionConfig(count=5))
PREPROCESSING: dict[str, Any] = {"size": 72, "crop": 64, "channels": 1, "depth": 8, "equalize": False, "window": None}
PREPROCESSING |= {"mean": [0.3], "std": [0.3]}
SIDES = {360: 10, 3900: 10}
"""Side of a noise image in pixels → rounds; the larger is a PNG of 15 MB, just below the limit of 16."""
CLIENTS = 50
MB = 2**20


class Watch:
    """The memory and the CPU time of a process and its children, while it lives."""

    def __init__(self, number: int) -> None:
        self.process, self.peak, self.peak_rss, self.ended = psutil.Process(number), 0.0, 0.0, threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()

    def _look(self) -> None:
        while not self.ended.wait(0.05):
            pss, rss = self.memory()
            self.peak, self.peak_rss = max(self.peak, pss), max(self.peak_rss, rss)

    def _tree(self) -> Iterator[psutil.Process]:
        try:
            yield from (self.process, *self.process.children(recursive=True))
        except psutil.NoSuchProcess:
            return

    def memory(self) -> tuple[float, float]:
        """Return proportional and resident memory in MB."""
        pss = rss = 0
        for each in self._tree():
            try:
                found = each.memory_full_info()
            except psutil.NoSuchProcess:
                continue
            pss, rss = pss + found.pss, rss + found.rss
        return pss / MB, rss / MB

    def cpu(self) -> float:
        """Return the seconds of CPU time that living processes of the tree have used."""
        times = [each.cpu_times() for each in self._tree()]
        return float(sum(each.user + each.system for each in times))

    def stop(self) -> None:
        self.ended.set()
        self.thread.join()


@contextmanager
def watched(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[Watch]:
    """Run a server while the block lasts."""
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, cwd=folder, env=os.environ | environment, stdout=log, stderr=log) as server,
    ):
        watch = Watch(server.pid)
        try:
            yield watch
        finally:
            watch.stop()
            for each in (*psutil.Process(server.pid).children(recursive=True), server):
                each.terminate()


def get(port: int, path: str, body: bytes | None = None) -> int:
    """Return the status of a reply, read to its end; 0 where the connection failed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        connection.request("POST" if body else "GET", path, body)
        reply = connection.getresponse()
        reply.read()
    except OSError:
        return 0
    else:
        return reply.status
    finally:
        connection.close()


def seconds_until_answered(port: int, path: str) -> float:
    """Return the seconds until a path is answered with 200."""
    begin = time.perf_counter()
    while get(port, path) != 200:
        assert time.perf_counter() - begin < 300, f"port {port} does not answer"
        time.sleep(0.02)
    return time.perf_counter() - begin


def interface(store: str, folder: Path, *, rounds: int, what: str) -> dict[str, Any]:
    """Start the command of ``make ui`` on a store; return seconds to the first page and to the list of experiments."""
    (line,) = re.findall(r"^\tmlflow server (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    rows = []
    for _ in range(rounds):
        port = free_port()
        words = line.replace("$(TRACKING)", store).replace("--port 5000", f"--port {port}").split()
        environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with watched([sys.executable, "-m", "mlflow", "server", *words], folder, environment) as watch:
            page = seconds_until_answered(port, "/")
            listed = page + seconds_until_answered(port, "/ajax-api/2.0/mlflow/experiments/search?max_results=50")
            cpu = watch.cpu()
            for _ in range(50):
                assert get(port, "/ajax-api/2.0/mlflow/registered-models/search?max_results=50") == 200
            time.sleep(0.2)
            rows.append({"page_s": page, "list_s": listed, "cpu_s": cpu, **peaks(watch)})
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    slowest = max(row["list_s"] for row in rows)
    return {"server": "make ui", "store": what, **medians, "slowest_list_s": slowest, "rounds": rounds, "load": load()}


def served(folder: Path, side: int, *, rounds: int, clients: int = CLIENTS) -> dict[str, Any]:
    """Ask a server from many clients at once, several times; return statuses, times and memory."""
    port, body = free_port(), noise(side)
    command = [sys.executable, "-m", "medtransfer", "serve", "toy@champion", "--port", str(port)]
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", "PYTHONPATH": str(ROOT / "src")}
    with watched(command, folder, environment) as watch, ThreadPoolExecutor(clients) as pool:
        ready = seconds_until_answered(port, "/health")
        assert get(port, "/predict?map=1", body) == 200
        before, cpu = watch.memory()[0], watch.cpu()
        found, after = [], []
        for _ in range(rounds):
            found += list(pool.map(lambda _: timed(port, body), range(clients)))
            after.append(watch.memory()[0])
        spent = watch.cpu() - cpu
    statuses, answered = Counter(status for status, _ in found), [wall for status, wall in found if status == 200]
    return {
        "server": "medtransfer serve",
        "image_mb": len(body) / MB,
        "clients": clients,
        "rounds": rounds,
        "ready_s": ready,
        "answered": statuses.pop(200, 0),
        "told_to_come_back": statuses.pop(503, 0),
        "other": sum(statuses.values()),
        "slowest_answer_s": max(answered),
        "cpu_s_per_answer": spent / len(answered),
        "before_mb": before,
        "after_first_round_mb": after[0],
        "after_last_round_mb": after[-1],
        **peaks(watch),
        "load": load(),
    }


def timed(port: int, body: bytes) -> tuple[int, float]:
    begin = time.perf_counter()
    return get(port, "/predict?map=1", body), time.perf_counter() - begin


def peaks(watch: Watch) -> dict[str, float]:
    return {"peak_mb": watch.peak, "peak_rss_mb": watch.peak_rss}


def load() -> float:
    return os.getloadavg()[0]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def noise(side: int) -> bytes:
    """Return a PNG that does not compress."""
    buffer = BytesIO()
    values = np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)
    Image.fromarray(values).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def make_store(folder: Path, *, runs: int, network: NetworkConfig = NETWORK) -> str:
    """Fill ``<folder>/mlflow.db`` with runs and one registered model; return its address."""
    store = f"sqlite:///{folder / 'mlflow.db'}"
    prepare_store(store)
    for number in range(runs):
        with open_run(RunSpec(experiment="toy", name=f"run {number}"), folder / f"{number}", uri=store) as tracker:
            tracker.metrics({"val/auroc": number / runs}, 0)
        finish(folder / f"{number}")
    heads = {"label": Head(outputs=("non-covid", "covid"), kind="probability", activation="softmax", trained=True)}
    model, extra = build_network(network, 2, seed=0), {"dataset": "toy", "positive": "covid"}
    save_weights(model, folder / "w", config=network, heads=heads, preprocessing=PREPROCESSING, extra=extra)
    about = About(tags={"gate.leaks": "open: 0 pairs"})
    version = register_model(folder / "w", records=folder / "0", name="toy", about=about, uri=store)
    promote("toy", version, "champion", "best", override="a benchmark", uri=store)
    return store


def main() -> None:
    """Measure both and write the result."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        store = make_store(folder, runs=50)
        rows = [interface(store, folder, rounds=5, what="50 runs")]
        rows += [interface(given, folder, rounds=5, what="given") for given in sys.argv[1:]]
        rows += [served(folder, side, rounds=rounds) for side, rounds in SIDES.items()]
    record("serving", rows, goal=GOAL)


if __name__ == "__main__":
    main()
