"""The C library's allocator under a network on a CPU."""

import ctypes
import sys

MALLOC = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, -1), "M_TOP_PAD": (-2, 64 << 20)}
"""Options of glibc's allocator and their values: no mapping for a large tensor alone, never shrink, grow by 64 MiB."""


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next step instead of giving it back to the system.

    By default every large tensor is mapped again, and the system clears each of its pages again: tens of thousands of
    page faults per training step, up to a fifth of its time, and more than half of that of a large batch that only
    passes forward. It holds for the whole process. With another C library nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in MALLOC.values():
            mallopt(option, value)
