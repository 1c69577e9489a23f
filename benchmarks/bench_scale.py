"""Time and memory of every step that reads tables, by the number of rows, and of the tracker by the number of runs.

Rows: manifest (build, check, write, read), splits by patient, search for identical files and patients in two splits,
predictions (make, write, read), scorecard with bootstrap intervals. Thumbnails are in ``bench_gate.py``. Runs: what a
fit records (``POINTS`` validations of ten metrics, shipped to a SQLite store), what the report reads of it, and the
whole page of a study with that many seeds of one network, each scored on ``IMAGES`` validation and test images. Every
size runs in a process of its own; ``peak_gb`` is the largest memory of that process up to the end of the step.
``growth`` is the time per n·log n relative to the size before, in processor seconds: above 1 it grows faster than
n log n. It is absent where the smaller size took less than 0.1 s.

    python benchmarks/bench_scale.py [--rows 1000 10000 100000 1000000] [--runs 10 100 1000]
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from bench_gate import peak_gb
from harness import ROOT, record
from PIL import Image

ROWS, RUNS = (1_000, 10_000, 100_000, 1_000_000), (10, 100, 1_000)
PER_PATIENT, POINTS, LEAST = 2, 10, 0.1
IMAGES, NETWORK, CHAIN, STUDY = 120, "resnet18_attn0", "none", "attentive_transfer"
NAMES = ("loss", "auroc", "auprc", "f1", "mse", "brier", "ece", "accuracy", "sensitivity", "specificity")
SCORED = "scorecard"
SECONDS, MEMORY = 300.0, 4.0
GOAL = "no step worse than n log n; 1,000,000 rows of predictions scored in under 5 minutes and 4 GB"

Steps = Iterator[tuple[str, Callable[[], Any]]]


def table_steps(count: int, folder: Path) -> Steps:
    """Yield the steps of a data set of ``count`` images and of one fit's predictions on it, by name."""
    from medtransfer.data.leaks import find_leaks
    from medtransfer.data.manifest import build_manifest, read_manifest, validate_manifest, write_manifest
    from medtransfer.data.splits import SplitConfig, assign_splits
    from medtransfer.evaluation.cells import EvaluationConfig
    from medtransfer.evaluation.predictions import prediction_rows, read_predictions, write_predictions
    from medtransfer.evaluation.scorecard import scorecard

    kept: dict[str, Any] = {}

    def file() -> None:
        write_manifest(kept["manifest"], folder / "m")
        read_manifest(folder / "m")

    yield "manifest", lambda: kept.update(manifest=validate_manifest(build_manifest(list(images(count)))))
    yield "manifest, file", file
    yield "splits", lambda: kept.update(manifest=assign_splits(kept["manifest"], SplitConfig()))
    yield "gate, identical images", lambda: find_leaks(kept["manifest"])
    rng = np.random.default_rng(0)
    target = (kept["manifest"]["label"] == "b").to_numpy(np.float64)
    score = 1 / (1 + np.exp(-rng.normal(size=count) - target))
    fit: dict[str, Any] = {"study": "x", "variant": "v", "condition": "c", "seed": 0}

    def predictions() -> None:
        outputs: dict[str, Any] = {"outputs": ["b"], "kind": "probability"}
        kept["table"] = prediction_rows(kept.pop("manifest"), score[:, None], target[:, None], **outputs, **fit)

    yield "predictions", predictions
    yield "predictions, write", lambda: write_predictions([kept.pop("table")], folder / "p")
    yield "predictions, read", lambda: kept.update(table=read_predictions(folder / "p"))
    yield SCORED, lambda: scorecard(kept["table"], EvaluationConfig())


def images(count: int) -> Iterator[dict[str, Any]]:
    """Yield rows of a manifest without splits."""
    for number in range(count):
        patient, mark = number // PER_PATIENT, f"{number:064x}"
        yield {
            "image_id": f"x/{number}",
            "patient_id": f"x:{patient}",
            "dataset": "x",
            "source": f"x/hospital {patient % 7}",
            "modality": "CXR",
            "path": f"{number}.png",
            "label": "ab"[patient % 2],
            "sha256": mark,
            "pixel_sha": mark,
            "phash": mark[-16:],
        }


def run_steps(count: int, folder: Path) -> Steps:
    """Yield the steps of ``count`` runs."""
    from medtransfer.reporting.records import curves, provenance, recorded_fits
    from medtransfer.tracking import RunSpec, finish, open_run

    uri, place = f"sqlite:///{folder}/runs.db", folder / STUDY / "records" / "finetune" / NETWORK / CHAIN

    def track(numbers: range) -> None:
        for number in numbers:
            spec = RunSpec(experiment="x", name=f"finetune · v · seed {number}", params={"lr": 0.1, "seed": number})
            at = place / f"seed{number}"
            with open_run(spec, at, uri=uri) as tracker:
                for point in range(POINTS):
                    tracker.metrics({f"val/{name}": 0.5 for name in NAMES}, point)
            finish(at)
            lines = [f"{point},0.5" for point in range(POINTS)]
            (at / "history.csv").write_text("\n".join(["step,val/auroc_covid", *lines]) + "\n", encoding="utf-8")

    def report() -> None:
        fits = recorded_fits(folder / STUDY, [NETWORK])
        assert len(provenance(fits)) == count
        assert len(curves(fits, {"auroc": ["val/auroc_covid"]})) == count * POINTS

    track(range(1))  # the store is made once
    yield "tracker", lambda: track(range(1, count))
    yield "report, records", report
    source = page_input(count, folder / STUDY)
    yield "report, page", lambda: write_page(source, folder / "page")


def write_side_files(count: int, folder: Path) -> None:
    """Write what the page of a study with ``count`` seeds reads beside predictions and records."""
    import pandas as pd

    (folder / "explanations").mkdir(parents=True)
    scores: dict[str, Any] = {"leep_bits": -0.9, "nce": -0.6, "logme": -0.7, "minus_label_entropy": -0.7}
    scores |= {"minus_conditional_entropy": -0.7, "unavailable": "", "source_labels": 6, "images": IMAGES}
    scores |= {"dropped_source_labels": 0, "absent_target_labels": 0}
    fits = ({"network": NETWORK, "chain": CHAIN, "seed": seed, "source_seed": seed} | scores for seed in range(count))
    pd.DataFrame(list(fits)).to_csv(folder / "transferability.csv", index=False)
    shown: dict[str, Any] = {"chains": {NETWORK: CHAIN}, "seed": 0, "shown": [], "scores": []}
    shown |= {"phantoms": {"slices": 0, "coverage": {"upright": {"axial": {"ru": 0.9}}}}}
    shown |= {"regions": {"dataset": "ct", "boxes": "axial", "coverage": None, "without_lungs": 0, "images": 0}}
    (folder / "explanations" / "explanations.json").write_text(json.dumps(shown), encoding="utf-8")
    for name in ("figure4.png", "regions.png"):
        Image.new("L", (1, 1)).save(folder / "explanations" / name)


def page_input(count: int, study: Path) -> Any:
    """Return what the page of a study with ``count`` seeds is computed from."""
    import pandas as pd

    from medtransfer.data.manifest import build_manifest
    from medtransfer.evaluation.cells import EvaluationConfig
    from medtransfer.evaluation.predictions import prediction_rows
    from medtransfer.reporting.input import ReportInput
    from medtransfer.reporting.origin import Origin
    from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig

    write_side_files(count, study / "results")
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))[STUDY]
    shipped |= {"networks": [NETWORK], "chains": [CHAIN], "seeds": list(range(count)), "outside": [], "warmed": {}}
    shipped |= {key: [] for key in ("stl_m_after", "sstl_m_after", "methods", "methods_after")}
    config = AttentiveTransferConfig.model_validate(shipped)
    rng, shown = np.random.default_rng(0), pd.DataFrame(build_manifest(list(images(2 * IMAGES))))
    shown = shown.assign(dataset=config.finetune.dataset, split=["val", "test"] * IMAGES)
    target = (shown["label"] == "b").to_numpy(np.float64)[:, None]
    fit: dict[str, Any] = {"study": STUDY, "variant": NETWORK, "condition": CHAIN}
    tables = []
    for seed in range(count):
        score = 1 / (1 + np.exp(-rng.normal(size=target.shape) - target))
        tables.append(prediction_rows(shown, score, target, outputs=["covid"], kind="probability", seed=seed, **fit))
    about = {"classes": ["covid", "non-covid"], "pack": {"size": 72, "depth": 8}, "phantoms": True, "splits": {}}
    about |= dict.fromkeys(("licence", "citation", "known_overlaps", "content_hash"), "") | {"patients": "known"}
    gate = {"settings": {"min_similarity": 0.9}, "images": 0, "planted": 0, "recall": {}, "declared": {}}
    gate |= {"search": {"radius": 300.0, "candidates": 40, "cut": 0, "plain": 0}, "hits": [], "pairs": []}
    return ReportInput(
        folder=study,
        predictions=pd.concat(tables, ignore_index=True),
        origin=Origin({config.finetune.dataset: about}, gate),
        champions=[],
        config=config,
        evaluation=EvaluationConfig(),
        profile="sample",
    )


def write_page(source: Any, folder: Path) -> None:
    """Compute and write a study's page."""
    from medtransfer.reporting.page import write_report
    from medtransfer.studies.attentive_transfer.report import build

    write_report(folder, build(source))


def measure(kind: str, count: int, folder: Path) -> list[dict[str, Any]]:
    """Run the steps of one size: wall and processor seconds, and peak memory."""
    rows = []
    for name, call in (table_steps if kind == "rows" else run_steps)(count, folder):
        wall, processor = time.perf_counter(), time.process_time()
        call()
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        rows.append({"step": name, "of": kind, "n": count, "wall_s": wall, "processor_s": processor})
        rows[-1]["peak_gb"] = peak_gb()
    return rows


def with_growth(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows, ordered by step, with the growth from one size to the next."""
    steps = dict.fromkeys((row["of"], row["step"]) for row in rows)
    ordered = []
    for key in steps:
        before: dict[str, Any] | None = None
        for row in sorted((row for row in rows if (row["of"], row["step"]) == key), key=lambda row: row["n"]):
            if before and before["processor_s"] >= LEAST:
                work = [one["n"] * math.log(one["n"]) for one in (row, before)]
                row |= {"growth": row["processor_s"] / before["processor_s"] / (work[0] / work[1])}
            ordered.append(row)
            before = row
    return ordered


def main(words: list[str] | None = None) -> None:
    """Measure every size in a process of its own, or with ``--child`` be one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS)
    parser.add_argument("--runs", type=int, nargs="*", default=RUNS)
    parser.add_argument("--child", nargs=2, help="rows or runs, and how many")
    options = parser.parse_args(words)
    if options.child:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(options.child[0], int(options.child[1]), Path(folder))))
        return
    rows = []
    for kind in ("rows", "runs"):
        for count in getattr(options, kind):
            command = [sys.executable, __file__, "--child", kind, str(count)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows += json.loads(done.stdout.splitlines()[-1])
            print(kind, count, f"load {os.getloadavg()[0]:.1f}", flush=True)
    record("scale", with_growth(rows), goal=GOAL)
    scored = [row for row in rows if row["step"] == SCORED and row["n"] == max(ROWS)]
    if any(row["wall_s"] > SECONDS or row["peak_gb"] > MEMORY for row in scored):
        raise SystemExit("scale: the goal is missed")


if __name__ == "__main__":
    main()
