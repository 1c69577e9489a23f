"""Whole fine-tuning fits as users run them, each in a process of its own, from its launch to its end, in turn.

``ours``: ``medtransfer fit`` from packed data with tracking on, by the command line. ``plain``: a script as tutorials
write it, in fp32 (``finetune_script.py``). ``tuned``: the same with bf16 autocast, channels last and the fused
optimiser. timm's training script is not part of its wheel and therefore not among them.

Equal on all sides: initial weights, images of both splits, number of steps, batch, optimiser, rate, and the strength of
the augmentation (resized crops of 0.5 to 1 of the area, flips). Not equal: the order of images and the draws of the
augmentation, so that losses agree within ``TOLERANCE`` alone. Our images are packed once beforehand; ``packing_s`` says
what that took, and ``ratio_with_packing`` counts all of it to our one fit. Seconds by part are exclusive of each other;
``rest`` is start (imports, opening and verifying data, building the network) and end.

    python benchmarks/bench_finetune.py [--rounds 3] [--networks tf_efficientnet_lite0 resnet50] [--epochs 3]
"""

import argparse
import csv
import importlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from harness import record
from PIL import Image

ROOT, SCRIPT = Path(__file__).parent.parent, Path(__file__).with_name("finetune_script.py")
NETWORKS = ("tf_efficientnet_lite0", "resnet50")
CLASSES: tuple[Literal["non-covid", "covid"], ...] = ("non-covid", "covid")
SMALLEST, LARGEST, DRAWN = 256, 512, 96
"""Sides in pixels: of the PNG files, and of the phantoms that they are enlarged from."""
BATCH, LR, DECAY = 16, 3e-4, 1e-4
PARTS = ("loading", "training", "validation", "tracking", "saving")
TOLERANCE = 0.15
"""Largest difference of the mean training loss of an epoch, in nats."""
GOAL = "at least 3 times as fast as the plain script and 1.3 times as fast as the tuned one; equal losses"


def draw(folder: Path, counts: dict[str, int]) -> None:
    """Write phantoms as PNG files of 256 to 512 px in class folders of each split, and their table."""
    from medtransfer.data.phantom.ct import CtConfig, draw_ct
    from medtransfer.data.phantom.scanner import CT_SCANNERS

    rows, rng = ["image,patient_id,label,split"], np.random.default_rng(0)
    for split, count in counts.items():
        for number in range(count):
            label, draws = CLASSES[number % 2], [np.random.default_rng([len(rows), part]) for part in (1, 2)]
            phantom = draw_ct(draws[0], draws[1], label, CT_SCANNERS[number % 3], CtConfig(size=DRAWN))
            size = (int(rng.integers(SMALLEST, LARGEST + 1)), int(rng.integers(SMALLEST, LARGEST + 1)))
            smooth = np.asarray(Image.fromarray(phantom.image).resize(size, Image.Resampling.BICUBIC), np.float32)
            grainy = np.clip(smooth + rng.normal(0, 2, smooth.shape), 0, 255).astype(np.uint8)
            file = folder / split / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(grainy).save(file, compress_level=3)
            rows.append(f"{split}/{label}/{number}.png,{split}{number},{label},{split}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_params(folder: Path, options: argparse.Namespace) -> None:
    """Write the shipped parameters cut down to the networks and one fit each, at the benchmark's size."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["datasets"] = {"ct": params["datasets"]["ct"] | {"pack": {"size": packed(options.crop), "channels": 1}}}
    study = params["attentive_transfer"]
    study |= {"networks": [f"{name}_attn0" for name in options.networks], "chains": ["none"], "outside": []}
    study |= {key: [] for key in ("stl_m_after", "sstl_m_after", "methods", "methods_after")} | {"warmed": {}}
    study["finetune"] |= {
        "augment": {"crop": options.crop, "crop_style": "resized", "crop_scale": [0.5, 1.0], "hflip": 0.5},
        "train": {
            "epochs": options.epochs,
            "batch_size": BATCH,
            "optimizer": {"name": "adamw", "lr": LR, "weight_decay": DECAY},
            "schedule": {"name": "constant"},
            "selection": {"metric": "val/auroc_covid"},
        },
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def packed(crop: int) -> int:
    """Return the side of the images that crops of a side are cut from."""
    return round(crop * 9 / 8)


def launch(command: list[str], folder: Path) -> dict[str, Any]:
    """Run a process to its end: what it printed as JSON, wall and processor seconds (workers too), peak memory in MB.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | {"DVC_ROOT": str(folder)}
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as errors:
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=errors)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        errors.seek(0)
        lines = said.read().splitlines()
        if process.returncode:
            raise RuntimeError(f"{' '.join(command[:4])}: exit code {process.returncode}: {errors.read()[-2000:]}")
    found: dict[str, Any] = next((json.loads(line) for line in reversed(lines) if line.startswith('{"')), {})
    return found | {"wall_s": wall, "processor_s": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}


class Parts:
    """Seconds of the main thread by part, each without what is counted to a part inside it."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._now, self._since = "rest", time.perf_counter()

    def switch(self, part: str) -> str:
        """Count to another part from now on; return the one before."""
        before, now = self._now, time.perf_counter()
        self.seconds[before] += now - self._since
        self._now, self._since = part, now
        return before

    def timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that counts to a part."""

        def run(*arguments: Any, **options: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                return call(*arguments, **options)
            before = self.switch(part)
            try:
                return call(*arguments, **options)
            finally:
                self.switch(before)

        return run


def time_fit(parts: Parts) -> None:
    """Let the loop, the tracker and all that writes count their time; called when a fit's modules are loaded."""
    from medtransfer.tracking.recorder import Recorder
    from medtransfer.training import loop, run

    opening = vars(run)["open_run"]

    @contextmanager
    def open_run(*arguments: Any, **options: Any) -> Iterator[Any]:
        context = opening(*arguments, **options)
        yield parts.timed("tracking", context.__enter__)()
        parts.timed("tracking", context.__exit__)(None, None, None)

    vars(run)["open_run"] = open_run
    for owner, part, names in (
        (loop.Fit, "loading", ("_next",)),
        (loop.Fit, "training", ("_step",)),
        (loop.Fit, "validation", ("_validate",)),
        (loop.Fit, "saving", ("_save",)),
        (loop, "saving", ("snapshot",)),
        (run, "saving", ("save", "write_history", "_deliver")),
        (run, "tracking", ("finish", "learning_figure", "run_spec")),
        (Recorder, "tracking", ("metrics", "tags", "figure")),
    ):
        for name in names:
            setattr(owner, name, parts.timed(part, getattr(owner, name)))


def timed_command_line(words: list[str]) -> None:
    """Be ``medtransfer fit …`` that prints its seconds by part."""
    parts, load = Parts(), importlib.import_module

    def loaded(name: str, package: str | None = None) -> Any:
        found = load(name, package)
        if name == "medtransfer.stages.fit":
            time_fit(parts)
            stage = vars(found)["run"]

            def run(options: argparse.Namespace) -> None:
                stage(options)
                parts.switch("rest")
                print(json.dumps({"seconds": parts.seconds}), flush=True)

            vars(found)["run"] = run
        return found

    vars(importlib)["import_module"] = loaded
    sys.argv = ["medtransfer", *words]
    from medtransfer.__main__ import main as command_line

    command_line()


def write_initial(folder: Path, network: str) -> None:
    """Write the weights that our fit starts from under timm's names: the trunk of ``start``, the head of its seed."""
    import timm
    import torch

    from medtransfer.models.classifier import NetworkConfig, build_network
    from medtransfer.models.weights import load_into

    model = build_network(NetworkConfig(backbone=network), len(CLASSES), seed=0)
    load_into(model, folder / f"out/attentive_transfer/weights/pretrain/{network}_attn0/none/seed0", head=False)
    head = timm.create_model(network, num_classes=len(CLASSES)).default_cfg["classifier"]
    state = {
        key.removeprefix("trunk.") if key.startswith("trunk.") else key.replace("head", head, 1): value
        for key, value in model.state_dict().items()
    }
    file = folder / network / "initial.pt"
    file.parent.mkdir()
    torch.save(state, file)


class Workspace:
    """A workspace with drawn images, packed once, and the three contenders in it."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.images = folder / "data" / "ct"
        draw(self.images, dict(zip(("train", "val"), options.images, strict=True)))
        (folder / "data.dvc").write_text("outs:\n- {md5: 0.dir, path: data}\n", encoding="utf-8")
        write_params(folder, options)
        python = [sys.executable, "-m", "medtransfer"]
        self.packing_s = launch([*python, "prepare", "ct"], folder)["wall_s"]
        launch([sys.executable, "-c", "from medtransfer.tracking import prepare_store; prepare_store()"], folder)
        for network in options.networks:
            launch([*python, "fit", "attentive_transfer", "start", f"{network}_attn0"], folder)
        about = json.loads((folder / "out/datasets/ct/dataset.json").read_text(encoding="utf-8"))
        self.statistics = (about["mean"][0], about["std"][0])

    def ours(self, network: str) -> dict[str, Any]:
        """Fit by the command line; a fit that an earlier round has finished is forgotten."""
        shutil.rmtree(self.folder / ".scratch" / "fits", ignore_errors=True)
        words = ["fit", "attentive_transfer", "finetune", f"{network}_attn0"]
        found = launch([sys.executable, __file__, "--command", *words], self.folder)
        records = self.folder / f"out/attentive_transfer/records/finetune/{network}_attn0/none/seed0/history.csv"
        with records.open(newline="", encoding="utf-8") as table:
            history = list(csv.DictReader(table))
        losses, aurocs = ([float(row[name]) for row in history] for name in ("train/loss", "val/auroc_covid"))
        return found | {"losses": losses, "aurocs": aurocs}

    def script(self, network: str, *more: str) -> dict[str, Any]:
        """Fit by the script."""
        numbers = {"epochs": self.options.epochs, "batch": BATCH, "crop": self.options.crop}
        numbers |= {"size": packed(self.options.crop), "lr": LR, "weight_decay": DECAY}
        numbers |= dict(zip(("mean", "std"), self.statistics, strict=True))
        words = [word for name, value in numbers.items() for word in (f"--{name}", str(value))]
        initial = self.folder / network / "initial.pt"
        return launch(
            [sys.executable, str(SCRIPT), str(self.images), network, str(initial), *words, *more], self.folder
        )


def compare(workspace: Workspace, network: str, rounds: int) -> list[dict[str, Any]]:
    """Run the contenders in turn and return a row for each."""
    write_initial(workspace.folder, network)
    turns = []
    for _ in range(rounds):
        turn = {"ours": workspace.ours(network), "plain": workspace.script(network)}
        turns.append(turn | {"tuned": workspace.script(network, "--tuned")})
        print(network, " ".join(f"{name} {one['wall_s']:.1f} s" for name, one in turns[-1].items()), flush=True)
    return [row(network, name, turns, workspace) for name in turns[0]]


def row(network: str, name: str, turns: list[dict[str, Any]], workspace: Workspace) -> dict[str, Any]:
    """Return medians over the rounds: time ÷ ours pair by pair, seconds by part, distance of the losses from ours."""
    mine = [turn[name] for turn in turns]
    pairs = [(turn[name], turn["ours"]) for turn in turns]
    ratios = sorted(a["wall_s"] / b["wall_s"] for a, b in pairs)
    found: dict[str, Any] = {"network": network, "contender": name, "ratio": statistics.median(ratios)}
    found |= {"lowest": ratios[0], "highest": ratios[-1], "rounds": len(turns), "load": os.getloadavg()[0]}
    found["processor_ratio"] = statistics.median(a["processor_s"] / b["processor_s"] for a, b in pairs)
    with_packing = [a["wall_s"] / (b["wall_s"] + workspace.packing_s) for a, b in pairs]
    found["ratio_with_packing"] = statistics.median(with_packing)
    found |= {key: statistics.median(one[key] for one in mine) for key in ("wall_s", "processor_s", "peak_mb")}
    for part in PARTS:
        found[f"{part}_s"] = statistics.median(one["seconds"].get(part, 0.0) for one in mine)
    found["rest_s"] = found["wall_s"] - sum(found[f"{part}_s"] for part in PARTS)
    gaps = [abs(a - b) for one, ours in pairs for a, b in zip(one["losses"], ours["losses"], strict=True)]
    found |= {"largest_loss_gap": max(gaps), "losses": mine[0]["losses"], "aurocs": mine[0]["aurocs"]}
    return found | ({"packing_s": workspace.packing_s} if name == "ours" else {})


def timm_row() -> dict[str, Any]:
    """Say whether timm's training script is there."""
    scripts = [file for file in files("timm") or () if file.name == "train.py"]
    why = "in its wheel" if scripts else "timm's wheel holds the library without train.py, and nothing is downloaded"
    return {"network": "any", "contender": "timm's train.py", "available": bool(scripts), "why": why}


def main(words: list[str] | None = None) -> None:
    """Compare every network, or with ``--command`` be the command line of a contender."""
    words = sys.argv[1:] if words is None else words
    if words[:1] == ["--command"]:
        timed_command_line(words[1:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--images", type=int, nargs=2, default=(425, 118), help="in training and validation")
    parser.add_argument("--crop", type=int, default=160)
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as temporary:
        workspace = Workspace(Path(temporary), options)
        rows = [row for network in options.networks for row in compare(workspace, network, options.rounds)]
    record("finetune", [*rows, timm_row()], goal=GOAL)
    if any(row["largest_loss_gap"] > TOLERANCE for row in rows):
        raise SystemExit(f"finetune: losses differ by more than {TOLERANCE}")


if __name__ == "__main__":
    main()
