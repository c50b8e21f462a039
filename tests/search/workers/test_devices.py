from __future__ import annotations

import os

import pytest

from search import resources
from search.workers import devices
from search.workers.devices import Gpu, parse_gpus, precision, share_devices, visible

HALF = Gpu(0, "Tesla T4", 7680 * 2**20, 7.5)
OLD, NEW = Gpu(0, "Tesla T4", 15360 * 2**20, 7.5), Gpu(1, "NVIDIA A100", 40960 * 2**20, 8.0)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("", ()),
        ("0, Tesla T4, 15360, 7.5\n1, NVIDIA A100, 40960, 8.0\n", (OLD, NEW)),
        ("0, Tesla T4, [N/A], 7.5\n1, NVIDIA A100, 40960, 8.0", (NEW,)),  # a part of a GPU
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", ()),
        ("0, Tesla T4\n", ()),
    ],
)
def test_what_the_driver_lists(answer: str, found: tuple[Gpu, ...]) -> None:
    assert parse_gpus(answer) == found


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (None, ["Tesla T4", "NVIDIA A100"]),
        ("0,1", ["Tesla T4", "NVIDIA A100"]),
        ("1", ["NVIDIA A100"]),
        ("1,0", ["NVIDIA A100", "Tesla T4"]),
        ("", []),
        ("-1", []),
        ("0,7,1", ["Tesla T4"]),  # as CUDA does: nothing from the first wrong number on
        ("GPU-8932f937-d72c", ["Tesla T4"]),  # by another name: there is one, and which is not known
    ],
)
def test_gpus_that_are_hidden_are_not_used(named: str | None, expected: list[str]) -> None:
    found = visible((OLD, NEW), named)
    assert [gpu.name for gpu in found] == expected
    assert [gpu.index for gpu in found] == list(range(len(expected)))  # as TensorFlow numbers them


def test_a_machine_without_a_driver_has_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert devices.gpus() == ()


@pytest.mark.parametrize(("gpu", "expected"), [(None, "float32"), (OLD, "float32"), (NEW, "mixed_bfloat16")])
def test_mixed_precision_only_where_it_pays(gpu: Gpu | None, expected: str) -> None:
    assert precision(gpu) == expected


@pytest.mark.parametrize(
    ("workers", "found", "expected"),
    [
        (None, (), [(None, None)]),
        (1, (), [(None, None)]),
        (2, (), [(None, 4), (None, 4)]),
        (None, (OLD, NEW), [(OLD, 4), (NEW, 4)]),
        (1, (OLD, NEW), [(OLD, None)]),
        (3, (OLD, NEW), [(HALF, 2), (NEW, 2), (HALF, 2)]),  # two share a GPU's memory
        (9, (), [(None, 1)] * 9),
    ],
)
def test_workers_share_gpus_and_cores(
    workers: int | None,
    found: tuple[Gpu, ...],
    expected: list[tuple[Gpu | None, int | None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resources, "cores", lambda: 8)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert share_devices(workers, found) == expected


def test_one_worker_keeps_to_the_cores_that_a_container_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "cores", lambda: 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert share_devices(1, ()) == [(None, 2)]
