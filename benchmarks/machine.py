"""What a figure was measured on, in a line."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

from search import resources
from search.workers.devices import gpus


def machine(*packages: str) -> str:
    """Platform, cores and whose they are, GPUs, and versions of what was measured."""
    found = ", ".join(gpu.name for gpu in gpus()) or "no GPU"
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    where = f"{platform.platform()}, {resources.cores()} cores ({processor()}), {found}"
    return f"{where}; {versions}" if versions else where


def processor() -> str:
    """What it calls itself."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
