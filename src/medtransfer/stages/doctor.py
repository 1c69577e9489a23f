"""``medtransfer doctor``: one line per thing that the workbench needs, with what to do where something is wrong."""

import os
import shutil
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from medtransfer import paths
from medtransfer.errors import ConfigError, TrackingError
from medtransfer.stages.needs import MEMORY_GB, PIPELINE_GB
from medtransfer.training.progress import console

LOCK = Path("requirements.lock")
SHOWN = 3
"""Packages named in a line; the others are counted."""
SIDE, CLEARLY = 1024, 1.25
"""Side of the matrices whose product is timed, and the factor from which on one precision is called faster."""
Check = Callable[[Path], Iterator["Finding"]]


@dataclass(frozen=True)
class Finding:
    """One line: whether all is well, with what, what was found, and what to do (empty where all is well)."""

    level: Literal["ok", "warn", "fail"]
    what: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.level:<5} {self.what:<12} {self.found}{f'; {self.remedy}' if self.remedy else ''}"


def run(options: Namespace) -> None:
    """Print every line; nothing is written, and a store that does not exist is not made.

    Raises:
        ConfigError: a line says ``fail``.
    """
    del options
    root, failed = paths.workspace().absolute(), list[str]()
    for check in CHECKS:
        for finding in check(root):
            console.print(str(finding), markup=False, soft_wrap=True)
            failed += [finding.what] if finding.level == "fail" else []
    if failed:
        raise ConfigError(f"doctor: {', '.join(failed)}: not fit to run; do what the lines with fail say")


def check_cpu(root: Path) -> Iterator[Finding]:
    """Threads of this process, and whether the precision that training chooses is the faster one, timed here."""
    from medtransfer.training.engine import fast_bf16

    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    chosen, speed = ("bf16" if fast_bf16() else "fp32"), bf16_speed()
    found = f"{threads} threads, {chosen} by default: products in bf16 are {speed:.1f} times as fast as in fp32"
    if threads < 2:
        yield Finding("warn", "CPU", found, "give it two, or expect twice the time")
    elif (speed > CLEARLY) if chosen == "fp32" else (speed < 1 / CLEARLY):
        other = {"fp32": "bf16", "bf16": "fp32"}[chosen]
        yield Finding("warn", "CPU", found, f"try hardware.precision {other}, or repeat this on a quiet machine")
    else:
        yield Finding("ok", "CPU", found)


def bf16_speed(rounds: int = 7) -> float:
    """Return how many times as fast this CPU multiplies matrices in bf16 as in fp32; takes some tenths of a second."""
    import torch

    matrices = [torch.ones(SIDE, SIDE, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        for number, matrix in enumerate(matrices):
            begun = time.perf_counter()
            matrix @ matrix
            best[number] = min(best[number], time.perf_counter() - begun)
    return best[0] / best[1]


def check_memory(root: Path) -> Iterator[Finding]:
    """Memory that is free now."""
    table = Path("/proc/meminfo")
    if not table.exists():
        yield Finding("ok", "memory", f"not known on this system; {MEMORY_GB} GB should be free")
        return
    rows = dict(line.split(":", 1) for line in table.read_text(encoding="utf-8").splitlines())
    total, free = (int(rows[name].split()[0]) * 1024 / 1e9 for name in ("MemTotal", "MemAvailable"))
    found = f"{free:.1f} of {total:.1f} GB free"
    if free < MEMORY_GB:
        yield Finding("warn", "memory", f"{found}, expected {MEMORY_GB} GB", "close other programs")
    else:
        yield Finding("ok", "memory", found)


def check_disk(root: Path) -> Iterator[Finding]:
    """Whether the workspace can be written, and its disk holds a run of the sample."""
    if not os.access(root, os.W_OK):
        yield Finding("fail", "disk", f"{root} cannot be written", "correct its rights, or clone to another folder")
        return
    free = shutil.disk_usage(root).free / 1e9
    if free < PIPELINE_GB and not (root / paths.OUT).exists():
        remedy = "make room, or clone to another disk"
        yield Finding("fail", "disk", f"{free:.1f} GB free, a first run takes {PIPELINE_GB} GB", remedy)
    elif free < PIPELINE_GB:
        yield Finding("warn", "disk", f"{free:.1f} GB free", "dvc gc -w frees what no stage here needs")
    else:
        yield Finding("ok", "disk", f"{free:.0f} GB free")


def check_environment(root: Path) -> Iterator[Finding]:
    """Python, and every installed package against the pins of requirements.lock."""
    python = ".".join(map(str, sys.version_info[:3]))
    if not (root / LOCK).is_file():
        yield Finding("ok", "packages", f"Python {python}; no {LOCK} here to compare with")
        return
    absent, other = differences((root / LOCK).read_text(encoding="utf-8"))
    if absent:
        yield Finding("fail", "packages", f"absent: {_first(absent)}", "run: make setup")
    if other:
        yield Finding("warn", "packages", f"not as pinned: {_first(other)}", "run: make setup")
    if not absent + other:
        yield Finding("ok", "packages", f"Python {python}, all as pinned in {LOCK}")


def _first(packages: list[str]) -> str:
    more = f" and {len(packages) - SHOWN} more" if len(packages) > SHOWN else ""
    return ", ".join(packages[:SHOWN]) + more


def differences(lock: str) -> tuple[list[str], list[str]]:
    """Return the packages of a lock that are not installed, and those that are of another version."""
    from packaging.requirements import Requirement

    absent, other = list[str](), list[str]()
    for line in lock.splitlines():
        if not line[:1].isalnum():
            continue
        pin = Requirement(line.rstrip("\\ "))
        if pin.marker and not pin.marker.evaluate():
            continue
        try:
            version = metadata.version(pin.name)
        except metadata.PackageNotFoundError:
            absent.append(pin.name)
            continue
        if not pin.specifier.contains(version, prereleases=True):
            other.append(f"{pin.name} {version} ({pin.specifier})")
    return absent, other


def check_gpu(root: Path) -> Iterator[Finding]:
    """The GPUs that torch can use, and a device that it cannot."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        yield Finding("ok", "GPU", f"{', '.join(names)}, CUDA {torch.version.cuda}")
    elif Path("/dev/nvidiactl").exists():
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
        remedy = "update the driver, or see that CUDA_VISIBLE_DEVICES is not empty"
        yield Finding("warn", "GPU", f"there is one, but torch ({built}) cannot use it", remedy)
    else:
        yield Finding("ok", "GPU", "none: the CPU is used")


def check_store(root: Path) -> Iterator[Finding]:
    """Whether the tracking store answers, and a local one can be written and is whole."""
    from medtransfer.tracking.address import portable_uri, tracking_uri
    from medtransfer.tracking.health import store_state

    try:
        address = tracking_uri()
        yield Finding("ok", "store", f"{portable_uri(address)}: {store_state(address)}")
    except TrackingError as error:
        yield Finding("fail", "store", str(error))


def check_versioning(root: Path) -> Iterator[Finding]:
    """A git checkout and DVC, without which there is no pipeline, and the sample's files."""
    inside = shutil.which("git") and subprocess.run(
        ["git", "-C", root, "rev-parse", "--git-dir"], capture_output=True, check=False
    )
    if not inside:
        yield Finding("fail", "git", "no git on the path", "install git")
    elif inside.returncode:
        yield Finding("fail", "git", f"{root} is in no git checkout", "git clone the project, or run git init here")
    else:
        yield Finding("ok", "git", "a checkout")
    try:
        version = metadata.version("dvc")
    except metadata.PackageNotFoundError:
        yield Finding("fail", "DVC", "not installed", "run: make setup")
        return
    if not (root / "dvc.yaml").is_file():
        yield Finding("warn", "DVC", f"{version}, but {root} has no dvc.yaml", "run this where params.yaml is")
    elif (root / "data.dvc").is_file() and not (root / "data").exists():
        yield Finding("warn", "DVC", f"{version}, the sample's files are not here", "run: dvc pull data.dvc")
    else:
        yield Finding("ok", "DVC", version)


def check_optional(root: Path) -> Iterator[Finding]:
    """Programs that only some tests and some ways of working need."""
    browsers = ("chromium", "chromium-browser", "google-chrome")
    for what, names, use in (
        ("Chromium", browsers, "tests that open pages are skipped"),
        ("PostgreSQL", ("postgres", "pg_ctl"), "a search over several machines needs a server elsewhere"),
    ):
        found = next((place for name in names if (place := shutil.which(name))), None)
        found = found or (_debian_postgres() if what == "PostgreSQL" else None)
        yield Finding("ok", what, found or f"none (optional: {use})")


def _debian_postgres() -> str | None:
    """Return the newest server program of Debian, which is not on the path."""
    return next((str(each) for each in sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))[::-1]), None)


CHECKS: tuple[Check, ...] = (
    check_cpu,
    check_memory,
    check_disk,
    check_environment,
    check_gpu,
    check_store,
    check_versioning,
    check_optional,
)
