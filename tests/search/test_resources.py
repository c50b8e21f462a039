from __future__ import annotations

import os
from pathlib import Path

import pytest

from search import resources


@pytest.fixture
def limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(resources, "LIMITS", tmp_path)
    monkeypatch.setattr(resources, "MEMBERSHIP", tmp_path / "none")
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
    assert resources.cores() == expected


@pytest.mark.parametrize(("limit", "limited"), [(None, False), ("max", False), ("1000000", True), (str(2**62), False)])
def test_memory_is_what_the_container_allows(limits: Path, limit: str | None, limited: bool) -> None:
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if limit is not None:
        (limits / "memory.max").write_text(limit + "\n")
    assert resources.memory() == (1_000_000 if limited else machine)


@pytest.mark.parametrize(
    ("membership", "files", "cores", "memory"),
    [
        ("0::/job/step", {"job/memory.max": "5000000", "job/step/memory.max": "max"}, 8, 5_000_000),
        ("0::/job/step", {"job/cpu.max": "300000 100000", "job/step/cpu.max": "max 100000"}, 3, None),
        ("4:memory:/slurm/job_7", {"memory/slurm/job_7/memory.limit_in_bytes": "7000000"}, 8, 7_000_000),
        (
            "4:cpu,cpuacct:/user",
            {"cpu,cpuacct/user/cpu.cfs_quota_us": "250000", "cpu,cpuacct/user/cpu.cfs_period_us": "100000"},
            3,
            None,
        ),
        ("4:cpu:/user", {"cpu/user/cpu.cfs_quota_us": "-1", "cpu/user/cpu.cfs_period_us": "100000"}, 8, None),
        ("nonsense", {}, 8, None),
    ],
    ids=["a service's", "a quota above it", "version 1", "its quota", "no quota", "unknown"],
)
def test_limits_of_jobs_and_services_lie_deeper(
    limits: Path,
    monkeypatch: pytest.MonkeyPatch,
    membership: str,
    files: dict[str, str],
    cores: int,
    memory: int | None,
) -> None:
    for name, text in files.items():
        (limits / name).parent.mkdir(parents=True, exist_ok=True)
        (limits / name).write_text(text + "\n")
    (limits / "membership").write_text(membership + "\n")
    monkeypatch.setattr(resources, "MEMBERSHIP", limits / "membership")
    assert resources.cores() == cores
    assert resources.memory() == (memory or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
