"""Where a result comes from: commit, data, versions and machine, without host or user names."""

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from medtransfer.errors import TrackingError

PACKAGES = ("medtransfer", "torch", "torchvision", "timm", "numpy", "scikit-learn", "mlflow", "dvc", "optuna")

WRITTEN_BY_THE_PIPELINE = (":(top,exclude)dvc.lock", ":(top,exclude)metrics")


def collect_lineage(pointers: Sequence[Path] = (), *, root: Path | None = None) -> dict[str, Any]:
    """Describe code, data, software and machine of a run.

    Args:
        pointers: DVC pointer files (``data.dvc``) or ``dvc.lock``, relative to ``root``.
        root: Folder of the checkout; the working folder by default.

    Returns:
        ``git_commit`` and ``git_dirty`` (None outside Git), ``data`` {path: md5}, ``versions``, ``machine``.

    Raises:
        TrackingError: a pointer file does not exist or is not one of DVC's.
    """
    folder = root or Path.cwd()
    data: dict[str, str] = {}
    for pointer in pointers:
        data.update(data_hashes(folder / pointer))
    return {**git_state(folder), "data": data, "versions": _versions(), "machine": _machine()}


def git_state(folder: Path) -> dict[str, Any]:
    """Return ``git_commit`` and ``git_dirty`` of a checkout, both None outside Git.

    Dirty means that a tracked file was changed by hand: what the pipeline itself writes while it runs does not count.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return {"git_commit": None, "git_dirty": None}
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":/", *WRITTEN_BY_THE_PIPELINE)
    return {"git_commit": commit, "git_dirty": bool(changed)}


def data_hashes(pointer: Path) -> dict[str, str]:
    """Return ``{path: md5}`` of the outputs that a ``.dvc`` file names, or of all outputs in ``dvc.lock``."""
    import yaml

    try:
        content = yaml.safe_load(pointer.read_text(encoding="utf-8"))
        stages = content["stages"].values() if "stages" in content else [content]
        return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", []) if "md5" in out}
    except (OSError, yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise TrackingError(f"{pointer.name}: not a readable DVC pointer or lock file: pull or repair it") from error


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _machine() -> dict[str, Any]:
    torch = sys.modules.get("torch")  # a process that has not loaded torch used no GPU, and loading takes a second
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch else []
    return {"cpu": _cpu(), "cores": len(os.sched_getaffinity(0)), "gpus": names, "system": platform.system()}


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
