"""What this machine has, found without loading TensorFlow."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import Final

from search import host

_QUERY: Final = ("--query-gpu=index,name,memory.total,compute_cap", "--format=csv,noheader,nounits")
_BFLOAT16_FROM: Final = 8.0  # compute capability with fast bfloat16, which needs no loss scaling


@dataclass(frozen=True, slots=True)
class Gpu:
    """An NVIDIA GPU as its driver lists it."""

    index: int
    name: str
    bytes: int
    capability: float


def gpus() -> tuple[Gpu, ...]:
    """The NVIDIA GPUs of this machine; none if there is no driver."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return ()
    try:
        answer = subprocess.run([command, *_QUERY], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return parse_gpus(answer)


def parse_gpus(answer: str) -> tuple[Gpu, ...]:
    """From what `nvidia-smi` prints, a line a GPU: index, name, memory in MiB, compute capability.

    >>> parse_gpus("0, NVIDIA A100, 40960, 8.0\\n")[0].capability
    8.0
    """
    found = []
    for line in answer.splitlines():
        parts = [part.strip() for part in line.split(",")]
        try:
            index, name, memory, capability = parts
            found.append(Gpu(int(index), name, int(float(memory)) * 2**20, float(capability)))
        except ValueError:
            continue  # "[N/A]" for a part of a GPU: not usable
    return tuple(found)


def precision(gpu: Gpu | None) -> str:
    """bfloat16 where the GPU gains by it, float32 elsewhere; on CPUs it takes three times as long."""
    return "mixed_bfloat16" if gpu is not None and gpu.capability >= _BFLOAT16_FROM else "float32"


def shares(workers: int | None, found: tuple[Gpu, ...]) -> list[tuple[Gpu | None, int | None]]:
    """GPU and CPU threads of each worker.

    Several on the CPU share its threads; one has them all.

    Args:
        workers: how many, None for one a GPU, else one.
        found: GPUs that TensorFlow sees.
    """
    count = workers or max(1, len(found))
    threads = None if count == 1 else max(1, host.cores() // count)
    return [(found[place % len(found)] if found else None, threads) for place in range(count)]
