"""Does the server answer as ``evaluate`` does? Every image of a folder is sent to both and the answers are compared.

``python benchmarks/served_equals_evaluate.py MODEL IMAGES`` in the workspace whose store has the model, for example
``covid-ct@champion data/ct/images``. The server runs on a free port of loopback and ends with the script.
"""

import csv
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def main(model: str, images: Path) -> None:
    """Print how many numbers were compared, the largest difference, flagged images and the time per image."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "scored"
        words = ["evaluate", "--model", f"models:/{model}", "--images", str(images), "--out", str(out)]
        subprocess.run([sys.executable, "-m", "medtransfer", *words], check=True, capture_output=True)
        with (out / "predictions.csv").open(newline="", encoding="utf-8") as table:
            rows = list(csv.DictReader(table))
    with served(model) as address:
        replies, seconds = [], []
        for row in rows:
            begun = time.perf_counter()
            replies.append(ask(address, (images / row["file"]).read_bytes()))
            seconds.append(time.perf_counter() - begun)
    pairs = [
        (reply["answer"][name], float(row[name]))
        for row, reply in zip(rows, replies, strict=True)
        for name in row
        if name.startswith(("probability_", "severity_", "value_"))
    ]
    about = replies[0]
    print(
        f"{model} version {about['version']}, weights {about['sha256'][:12]}: {len(rows)} images, {len(pairs)} numbers"
    )
    print(f"largest difference {max(abs(a - b) for a, b in pairs):.1e}")
    print(f"median {statistics.median(seconds):.3f} s per image, without its map")
    print(
        f"{sum(bool(reply['flags']) for reply in replies)} break a rule of the input: "
        f"{sorted({flag for reply in replies for flag in reply['flags']})}"
    )
    print(
        f"unlike training: server {sum(bool(reply['unlike_training']) for reply in replies)}, "
        f"evaluate {sum(bool(row['unlike_training']) for row in rows)}"
    )


@contextmanager
def served(model: str) -> Iterator[str]:
    """Yield the address of a server that is ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "medtransfer", "serve", model, "--port", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 120
        while not _is_ready(address):
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"the server did not start: medtransfer serve {model}")
            time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait()


def _is_ready(address: str) -> bool:
    try:
        return bool(urllib.request.urlopen(f"{address}/health", timeout=5).status == 200)
    except OSError:
        return False


def ask(address: str, image: bytes) -> dict[str, Any]:
    """Return the reply to an image."""
    request = urllib.request.Request(f"{address}/predict", image, {"Content-Type": "application/octet-stream"})
    reply: dict[str, Any] = json.load(urllib.request.urlopen(request, timeout=60))
    return reply


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
