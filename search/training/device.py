"""The device: found, set up before the first tensor, and what it means for precision and where pixels lie."""

from __future__ import annotations

from typing import Any, Final

import tensorflow as tf

_PIXEL_SHARE: Final = 0.4  # of the device's memory: above it pixels stay on the host
_BFLOAT16_FROM: Final = (8, 0)  # compute capability with fast bfloat16, which needs no loss scaling


def set_up(threads: int | None, gpu: int | None) -> str:
    """Choose the GPU (None: none) and the CPU threads (None: TensorFlow's own choice), before anything runs.

    Memory grows as needed, results repeat bit by bit. Returns the device's name for reports.
    """
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    gpus = tf.config.list_physical_devices("GPU")
    chosen = gpus[gpu : gpu + 1] if gpu is not None else []
    tf.config.set_visible_devices(chosen, "GPU")
    for device in chosen:
        tf.config.experimental.set_memory_growth(device, True)
    tf.config.experimental.enable_op_determinism()
    if not chosen:
        return "CPU"
    return str(tf.config.experimental.get_device_details(chosen[0]).get("device_name", "GPU"))


def gpus() -> list[dict[str, Any]]:
    """Name and compute capability of each GPU that TensorFlow sees."""
    found = tf.config.list_physical_devices("GPU")
    return [dict(tf.config.experimental.get_device_details(device)) for device in found]


def precision(details: dict[str, Any] | None) -> str:
    """`auto` precision: bfloat16 where the GPU (its details; None for a CPU) gains by it, else float32."""
    if details is None:
        return "float32"
    return "mixed_bfloat16" if tuple(details.get("compute_capability", (0, 0))) >= _BFLOAT16_FROM else "float32"


def pixel_device(pixel_bytes: int, device_bytes: int | None) -> str:
    """Where the pixels lie: on the GPU unless they would take more than 40 % of its memory (None: there is none)."""
    if device_bytes is None or pixel_bytes > _PIXEL_SHARE * device_bytes:
        return "/CPU:0"
    return "/GPU:0"
