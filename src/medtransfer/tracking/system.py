"""How busy machine and GPUs are while a run is recorded, under the names that MLflow shows as system metrics.

MLflow's own monitor is a thread per run that writes past the journal, and numbers its samples instead of naming steps.
Here a sample is taken by the call that records a metric, when the last one is old enough: short runs have none.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

EVERY_SECONDS = 30.0
_PROC = Path("/proc")


class SystemMetrics:
    """Takes a sample at most every ``EVERY_SECONDS``, the first one so long after it was made."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._last, self._step = clock, clock(), -1
        self._busy = _cpu_ticks()

    def sample(self, step: int) -> dict[str, float]:
        """Return what is due at a step, in percent and MB (10⁶ bytes); empty between samples and without /proc.

        ``system/cpu_utilization_percentage`` is the machine's since the last sample; the memory in use of machine,
        process and GPUs is that of this moment. GPUs count when this process uses them.
        """
        if self._clock() - self._last < EVERY_SECONDS or step <= self._step or not self._busy:
            return {}
        before, self._busy = self._busy, _cpu_ticks()
        self._last, self._step = self._clock(), step
        whole, idle = (now - then for now, then in zip(self._busy, before, strict=True))
        values = {"cpu_utilization_percentage": 100 * (1 - idle / whole)} if whole else {}
        values |= _memory() | _gpus()
        return {f"system/{name}": value for name, value in values.items()}


def _cpu_ticks() -> tuple[int, int] | tuple[()]:
    """Return the ticks that the machine's cores have spent, and those that they waited; empty where it is not said."""
    try:
        ticks = [int(word) for word in (_PROC / "stat").read_text().splitlines()[0].split()[1:9]]
    except OSError:
        return ()
    return sum(ticks), ticks[3] + ticks[4]


def _memory() -> dict[str, float]:
    lines = (line.split() for line in (_PROC / "meminfo").read_text().splitlines())
    kilobytes = {words[0]: int(words[1]) for words in lines}
    pages = int((_PROC / "self" / "statm").read_text().split()[1])
    used = 1024 * (kilobytes["MemTotal:"] - kilobytes["MemAvailable:"])
    return {
        "system_memory_usage_megabytes": used / 1e6,
        "process_memory_megabytes": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
    }


def _gpus() -> dict[str, float]:
    torch = sys.modules.get("torch")  # a process that has not loaded torch uses no GPU
    if torch is None or not torch.cuda.is_initialized():
        return {}
    found = {}
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        found[f"gpu_{index}_memory_usage_megabytes"] = (total - free) / 1e6
    return found
