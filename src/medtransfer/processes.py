"""Which process made something, and whether it is gone: leftovers of a kill can be told from work in progress."""

import hashlib
import os
import socket
from functools import cache
from pathlib import Path


def this_process() -> str:
    """Return ``<machine>-<pid>-<start>`` of this process: letters, digits and hyphens, without a host's name."""
    return f"{_machine()}-{os.getpid()}-{started(os.getpid())}"


def is_gone(marked: str) -> bool:
    """Return whether a mark is of this machine and its process has ended; of other machines nothing is known."""
    machine, pid, start = marked.split("-")
    return machine == _machine() and started(int(pid)) != start


def started(pid: int) -> str:
    """Return when a process started, in ticks since the machine did; empty when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


@cache
def _machine() -> str:
    """Return six digits for the host and its namespace of processes: containers can share a host's name."""
    space = Path("/proc/self/ns/pid")
    name = f"{socket.gethostname()} {space.readlink() if space.exists() else ''}"
    return hashlib.sha256(name.encode()).hexdigest()[:6]
