"""Time of an audit of a finished model on 1,000 images beyond one prediction pass: 224 pixels, tf_efficientnet_lite0.

Drawn chest X-rays with lung masks and annotated markers, 800 patients, three hospitals, two views; the network is
untrained, which costs what a trained one costs. Every question of both halves is asked. Wall time is given beside the
processor time of all threads; on two free cores the wall time is between half the processor time and all of it.
"""

import os
import time

import numpy as np
from harness import record

from medtransfer.audit.cases import Cases
from medtransfer.audit.offered import offered
from medtransfer.audit.used import used
from medtransfer.data.phantom.cxr import CxrConfig, draw_cxr
from medtransfer.data.phantom.record import lungs
from medtransfer.data.phantom.scanner import CXR_SCANNERS
from medtransfer.data.phantom.shortcuts import burn_marker
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.heads import Head
from medtransfer.training.auditing import network_model
from medtransfer.training.engine import Engine, HardwareConfig

IMAGES, PATIENTS, SIDE, DRAWN = 1000, 800, 224, 56


def cases() -> Cases:
    """Draw phantoms at a quarter of the side and enlarge them: what they show does not matter for the time."""
    images, masks, markers = [], [], np.zeros((IMAGES, SIDE, SIDE), bool)
    for number in range(IMAGES):
        one, two = (np.random.default_rng([part, number]) for part in (1, 2))
        scanner = CXR_SCANNERS[number // 2 % 3]
        phantom = draw_cxr(one, two, "normal" if number % 2 else "covid", scanner, CxrConfig(size=DRAWN))
        image = np.kron(phantom.image, np.ones((SIDE // DRAWN, SIDE // DRAWN), np.uint8))
        if number % 3 == 0:
            image, marker = burn_marker(np.random.default_rng(number), image)
            left, top, right, bottom = marker.box
            markers[number, top:bottom, left:right] = True
        images.append(image)
        masks.append(np.kron(lungs(phantom.mask), np.ones((SIDE // DRAWN, SIDE // DRAWN), bool)))
    patients = np.array([f"p{number % PATIENTS}" for number in range(IMAGES)], object)
    attributes = {
        "source": np.array([("alder", "birch", "cedar")[number // 2 % 3] for number in range(IMAGES)], object),
        "view": np.array([("PA", "AP")[number // 6 % 2] for number in range(IMAGES)], object),
        "sex": np.array([("F", "M")[number // 12 % 2] for number in range(IMAGES)], object),
    }
    target = (np.arange(IMAGES) % 2 == 0).astype(np.int64)
    return Cases(np.stack(images)[:, None], target, patients, attributes, np.stack(masks), markers)


def main() -> None:
    """Time the prediction pass, then the two halves."""
    asked, engine = cases(), Engine(HardwareConfig(precision="fp32"))
    network = build_network(NetworkConfig(backbone="tf_efficientnet_lite0"), 2, seed=0)
    heads = {"label": Head(outputs=("rest", "covid"), activation="softmax", kind="probability")}
    model = network_model(network, heads, {"mean": 0.5, "std": 0.25}, engine, "covid")
    model(asked.images[:64])
    rows, marks = [], [(time.perf_counter(), time.process_time())]
    answer = model(asked.images)
    marks.append((time.perf_counter(), time.process_time()))
    halves = [offered(asked), used(asked, answer, model)]
    marks.append((time.perf_counter(), time.process_time()))
    for name, before, after in zip(("prediction pass", "audit beyond it"), marks, marks[1:], strict=False):
        rows.append({"what": name, "wall_s": after[0] - before[0], "processor_s": after[1] - before[1]})
    judged = sum(row.value is not None for half in halves for row in half.rows)
    rows.append({"what": "questions answered", "count": judged, "load": os.getloadavg()[0]})
    record(
        "audit_time", rows, goal="an audit of 1,000 images takes under 180 s on two cores beyond one prediction pass"
    )


if __name__ == "__main__":
    main()
