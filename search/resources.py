"""CPU cores and memory that this process may use; a container often allows less than the machine has."""

from __future__ import annotations

import contextlib
import math
import os
import platform
from pathlib import Path
from typing import Final

LIMITS: Final = Path("/sys/fs/cgroup")
"""Folder in which Linux shows the limits of a container or of a batch system's job."""

MEMBERSHIP: Final = Path("/proc/self/cgroup")
"""File in which Linux lists the control groups of this process."""


def cores() -> int:
    """Return the number of CPU cores that this process may use, at least 1, limited by its container or batch job."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for group in _groups("cpu"):
        with contextlib.suppress(OSError, ValueError):  # not limited here: no such file, or "max"
            quota, period = (group / "cpu.max").read_text().split()
            allowed = min(allowed, math.ceil(int(quota) / int(period)))
        with contextlib.suppress(OSError, ValueError):
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if int(quota) > 0:
                allowed = min(allowed, math.ceil(int(quota) / int(period)))
    return max(1, allowed)


def memory() -> int:
    """Return the bytes of memory that this process may use: those of the machine, or of its container or batch job."""
    least = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for group in _groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):
                least = min(least, int((group / name).read_text()))
    return least


def _groups(controller: str) -> list[Path]:
    """Control groups of this process, of both versions, with all those that they lie in."""
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except OSError:
        lines = []
    groups = [LIMITS, LIMITS / controller]
    for line in lines:
        _, controllers, place = (*line.split(":", 2), "", "")[:3]
        if controllers and controller not in controllers.split(","):
            continue
        inner = LIMITS / controllers if controllers else LIMITS
        for part in Path(place.lstrip("/")).parts:
            inner /= part
            groups.append(inner)
    return groups


def may_live(process: int, host: str) -> bool:
    """Return whether a process may still be alive.

    Args:
        process: process id.
        host: name of the host on which the process runs; on another host than this one it can't be checked, so the
            result is True.
    """
    if host != platform.node() or os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's
        pass
    return True


def memory_of(process: int) -> int | None:
    """Return the bytes of private memory (RssAnon) of the process with this id; None if they can't be read."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
    except (OSError, StopIteration, ValueError, IndexError):  # no Linux, or no such process
        return None
