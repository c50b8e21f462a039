"""What this process may use of its machine: a container often allows less than there is."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

LIMITS: Final = Path("/sys/fs/cgroup")
"""Where Linux tells a container its limits."""


def cores() -> int:
    """CPU cores: those that it may run on, or as many as its container's quota pays for."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (LIMITS / "cpu.max").read_text().split()
        return max(1, min(allowed, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or "max"
        return allowed


def memory() -> int:
    """Bytes of the machine, or of the container if that may use less."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(machine, int((LIMITS / "memory.max").read_text()))
    except (OSError, ValueError):
        return machine


def memory_of(process: int) -> int | None:
    """Bytes that a process holds for itself; pages of files, which processes share, are not counted. None: unknown."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
    except (OSError, StopIteration, ValueError, IndexError):  # no Linux, or no such process
        return None
