"""From the launch of a fit stage to its first training step, seen from the outside.

Each repeat launches the command line in a new process on a small drawn data set. The process prints a line just before
its first step, and the clock of the launching process stops when that line arrives. ``cpu_s`` is the processor time
that the stage had spent by then: what the wall time comes to when nothing else runs. Python's bytecode is there, as pip
leaves it; ``without bytecode`` is an installation whose modules are compiled anew by every process.

    python benchmarks/bench_start.py [repeats]
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from harness import record
from PIL import Image

GOAL = "a stage starts its real work at most 3 s after launch"
ROOT = Path(__file__).parent.parent
NETWORK, IMAGES, SIDE = "resnet18_attn5", 96, 72
LAUNCH = """
import importlib, time
load = importlib.import_module
def loaded(name, package=None):
    found = load(name, package)
    if not name.startswith("medtransfer.stages."):
        return found
    from medtransfer.training.loop import Fit
    step = Fit._step
    def first(self, batch):
        print("STEP", time.process_time(), flush=True)
        Fit._step = step
        step(self, batch)
    Fit._step = first
    return found
importlib.import_module = loaded
from medtransfer.__main__ import main
main()
"""


def make_workspace(folder: Path) -> None:
    """Write noise pictures with a table, and the shipped parameters cut down to one network and the chain none."""
    rng = np.random.default_rng(0)
    (folder / "data/ct").mkdir(parents=True)
    (folder / "data.dvc").write_text("outs:\n- {md5: 0.dir, path: data}\n", encoding="utf-8")
    table = ["image,patient_id,label,split"]
    for number in range(IMAGES):
        picture = rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"data/ct/{number}.png")
        label, split = ("non-covid", "covid")[number % 2], ("train", "train", "val")[number % 3]
        table.append(f"{number}.png,{number},{label},{split}")
    (folder / "data/ct/labels.csv").write_text("\n".join(table) + "\n", encoding="utf-8")
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["datasets"] = {"ct": params["datasets"]["ct"]}
    params["attentive_transfer"] |= {"networks": [NETWORK], "chains": ["none"], "outside": []}
    params["attentive_transfer"] |= {key: [] for key in ("stl_m_after", "sstl_m_after", "methods", "methods_after")}
    params["attentive_transfer"]["finetune"]["train"]["epochs"] = 1
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def launch(folder: Path, words: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Run the command line once; return seconds to the first step, processor seconds then, and seconds to the end.

    Fits that a launch before has finished are forgotten: they would be kept, and there would be no first step.
    """
    shutil.rmtree(folder / ".scratch" / "fits", ignore_errors=True)
    begun = time.perf_counter()
    command = [sys.executable, "-c", LAUNCH, *words]
    found: dict[str, float] = {}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as stage:
        assert stage.stdout is not None
        for line in stage.stdout:
            if line.startswith("STEP"):
                found = {"first_step_s": time.perf_counter() - begun, "cpu_s": float(line.split()[1])}
    assert stage.returncode == 0, f"{words[0]} ended with {stage.returncode}"
    return found | {"end_s": time.perf_counter() - begun}


def measure(folder: Path, environment: dict[str, str], repeats: int, **what: Any) -> dict[str, Any]:
    fit = ["fit", "attentive_transfer", "finetune", NETWORK]
    launch(folder, fit, environment)  # makes the tracking store and, where it may, the bytecode
    times = [launch(folder, fit, environment) for _ in range(repeats)]
    medians = {name: statistics.median(one[name] for one in times) for name in times[0]}
    slowest = max(one["first_step_s"] for one in times)
    return what | medians | {"slowest_first_step_s": slowest, "repeats": repeats, "load": os.getloadavg()[0]}


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "workspace"
        make_workspace(folder)
        base = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "MLFLOW_TRACKING_URI")}
        base |= {"DVC_ROOT": str(folder), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        warm = base | {"PYTHONPYCACHEPREFIX": str(Path(place) / "bytecode")}
        cold = base | {"PYTHONPYCACHEPREFIX": str(Path(place) / "none"), "PYTHONDONTWRITEBYTECODE": "1"}
        for words in (["prepare", "ct"], ["fit", "attentive_transfer", "start", NETWORK]):
            subprocess.run([sys.executable, "-m", "medtransfer", *words], cwd=folder, env=warm, check=True)
        rows = [
            measure(folder, warm, repeats, bytecode="installed"),
            measure(folder, cold, max(1, repeats // 2), bytecode="none"),
        ]
    record("start", rows, goal=GOAL)


if __name__ == "__main__":
    main()
