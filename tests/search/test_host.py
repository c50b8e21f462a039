from __future__ import annotations

import os
from pathlib import Path

import pytest

from search import host


@pytest.fixture
def limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(host, "LIMITS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        (None, 8),
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("9900000 100000", 8),
    ],
)
def test_cores_are_those_that_the_quota_pays_for(limits: Path, quota: str | None, expected: int) -> None:
    if quota is not None:
        (limits / "cpu.max").write_text(quota + "\n")
    assert host.cores() == expected


@pytest.mark.parametrize(("limit", "limited"), [(None, False), ("max", False), ("1000000", True), (str(2**62), False)])
def test_memory_is_what_the_container_allows(limits: Path, limit: str | None, limited: bool) -> None:
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if limit is not None:
        (limits / "memory.max").write_text(limit + "\n")
    assert host.memory() == (1_000_000 if limited else machine)
