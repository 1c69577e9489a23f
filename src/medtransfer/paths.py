"""The only place that knows folder names. All paths are relative to the workspace unless said otherwise."""

import os
from pathlib import Path


def workspace() -> Path:
    """Return the folder that holds params.yaml: DVC's root when DVC runs us, else the working folder."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd())


PARAMS = Path("params.yaml")
OUT = Path("out")
METRICS = Path("metrics")
SCRATCH = Path(".scratch")
REPORT = OUT / "report"
GATE = OUT / "gate.json"


def dataset(name: str) -> Path:
    """Folder of a packed data set."""
    return OUT / "datasets" / name


def variant(study: str, phase: str, name: str) -> Path:
    """Folder of one stage's outputs: ``weights/seed<N>`` and ``records/seed<N>`` lie below it."""
    return OUT / study / phase / name


def weights(study: str, phase: str, name: str, seed: int) -> Path:
    """Folder with model.safetensors and config.json of one fit."""
    return variant(study, phase, name) / "weights" / f"seed{seed}"


def records(study: str, phase: str, name: str, seed: int) -> Path:
    """Folder with run.json, history.csv and the tracked events of one fit."""
    return variant(study, phase, name) / "records" / f"seed{seed}"
