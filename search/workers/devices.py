"""GPUs and CPU threads of this machine, found without loading TensorFlow, and their division among workers."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from typing import Final

from search import resources

_QUERY: Final = ("--query-gpu=index,name,memory.total,compute_cap", "--format=csv,noheader,nounits")
_BFLOAT16_FROM: Final = 8.0  # compute capability with fast bfloat16, which needs no loss scaling


@dataclass(frozen=True, slots=True)
class Gpu:
    """An NVIDIA GPU, as listed by its driver."""

    index: int  # number of the GPU, from 0
    name: str  # such as "NVIDIA A100"
    bytes: int  # memory in bytes
    capability: float  # CUDA compute capability, such as 8.0


def gpus() -> tuple[Gpu, ...]:
    """Return the NVIDIA GPUs that this process may use; none if there is no driver."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return ()
    try:
        answer = subprocess.run([command, *_QUERY], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return visible(parse_gpus(answer), os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible(installed: tuple[Gpu, ...], names: str | None) -> tuple[Gpu, ...]:
    """Select the GPUs that CUDA_VISIBLE_DEVICES names, numbered as TensorFlow then numbers them.

    Args:
        installed: all GPUs of the machine, in the driver's order.
        names: value of CUDA_VISIBLE_DEVICES; None: it is not set, and all GPUs are visible.

    >>> [gpu.name for gpu in visible((Gpu(0, "a", 1, 8.0), Gpu(1, "b", 1, 8.0)), "1")]
    ['b']
    """
    if names is None:
        return installed
    entries = [entry.strip() for entry in names.split(",")] if names.strip() else []
    by_index = {str(gpu.index): gpu for gpu in installed}
    if all(entry in by_index for entry in entries):
        chosen = [by_index[entry] for entry in entries]
    else:  # like CUDA: ignore everything from the first unknown number on; take GPUs named by UUID in order
        numbers = [entry.lstrip("-").isdigit() for entry in entries]
        valid = next((n for n, entry in enumerate(entries) if numbers[n] and entry not in by_index), len(entries))
        chosen = [
            by_index.get(entry, installed[n % len(installed)]) for n, entry in enumerate(entries[:valid]) if installed
        ]
    return tuple(replace(gpu, index=place) for place, gpu in enumerate(chosen))


def parse_gpus(answer: str) -> tuple[Gpu, ...]:
    """Parse the output of `nvidia-smi`, one line per GPU: index, name, memory in MiB, compute capability.

    Lines with other fields are skipped.

    >>> parse_gpus("0, NVIDIA A100, 40960, 8.0\\n")[0].capability
    8.0
    """
    gpus = []
    for line in answer.splitlines():
        parts = [part.strip() for part in line.split(",")]
        try:
            index, name, memory, capability = parts
            gpus.append(Gpu(int(index), name, int(float(memory)) * 2**20, float(capability)))
        except ValueError:
            continue  # "[N/A]" for a part of a GPU: not usable
    return tuple(gpus)


def unseen_gpu_message(gpu: Gpu) -> str:
    """Return the warning for a machine whose driver lists a GPU that TensorFlow does not see."""
    return (
        f"This machine has an NVIDIA GPU ({gpu.name}) that TensorFlow does not see, so fits run on the CPU. "
        "To use the GPU: pip install 'steadynet[gpu]' (from a checkout: pip install -e '.[gpu]')."
    )


def precision(gpu: Gpu | None) -> str:
    """Return the fastest Keras dtype policy: "mixed_bfloat16" on GPUs of capability 8.0 or more, else "float32"."""
    return "mixed_bfloat16" if gpu is not None and gpu.capability >= _BFLOAT16_FROM else "float32"


def share_devices(workers: int | None, gpus: tuple[Gpu, ...]) -> list[tuple[Gpu | None, int | None]]:
    """Divide CPU threads and GPUs among workers.

    CPU threads are divided equally; workers on the same GPU divide its memory equally.

    Args:
        workers: number of workers, at least 1; None: one per GPU, or one if there are no GPUs.
        gpus: GPUs that TensorFlow may use.

    Returns:
        One pair per worker: its GPU (None: the CPU) and its number of CPU threads (None: TensorFlow decides).
    """
    count = workers or max(1, len(gpus))
    cores = resources.cores()
    threads = max(1, cores // count)
    if count == 1 and cores == os.cpu_count():
        return [(gpus[0] if gpus else None, None)]
    if not gpus:
        return [(None, threads)] * count
    shared = [gpus[worker % len(gpus)] for worker in range(count)]
    return [(replace(gpu, bytes=gpu.bytes // shared.count(gpu)), threads) for gpu in shared]
