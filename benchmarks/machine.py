"""What a figure was measured on, in a line."""

from __future__ import annotations

import platform
from importlib import metadata

from search import host
from search.study.machine import gpus


def machine(*packages: str) -> str:
    """Platform, cores, GPUs, and versions of what was measured."""
    found = ", ".join(gpu.name for gpu in gpus()) or "no GPU"
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    return f"{platform.platform()}, {host.cores()} cores, {found}" + (f"; {versions}" if versions else "")
