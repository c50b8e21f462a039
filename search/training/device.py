"""The device: set up before the first tensor, and where pixels lie."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from threadpoolctl import threadpool_limits

from search.npy import memmap_npy
from search.training.prefetch import LARGE, touched_at_random

_HOST: Final = "/CPU:0"
_GPU: Final = "/GPU:0"
_NO_ROOM: Final = (
    "out of memory",
    "out_of_memory",
    "dst tensor is not initialized",
    "alloc_failed",
    "failed to allocate",
)
_SMALL: Final = 64  # pixels a side
_PIXEL_SHARE: Final = 0.4  # of the device's memory: above it pixels stay on the host


def set_up(threads: int | None, gpu: int | None) -> str | None:
    """Choose the GPU (None: none) and the CPU threads (None: TensorFlow's own choice), before anything runs.

    Memory grows as needed, results repeat bit by bit.

    Returns:
        The GPU's name; None if it is not to be used or TensorFlow does not see it.
    """
    if threads is not None:
        threadpool_limits(threads)  # of NumPy's linear algebra
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    seen = tf.config.list_physical_devices("GPU")
    chosen = seen[gpu : gpu + 1] if gpu is not None else []
    tf.config.set_visible_devices(chosen, "GPU")
    for device in chosen:
        tf.config.experimental.set_memory_growth(device, True)
    tf.config.experimental.enable_op_determinism()
    logging.getLogger("tensorflow").addFilter(_unforeseen)
    if not chosen:
        return None
    return str(tf.config.experimental.get_device_details(chosen[0]).get("device_name", "GPU"))


def adapt(side: int) -> None:
    """To images of so many pixels a side, before a network for them is traced.

    Of small ones on the CPU, graphs run as they are traced: rewriting them takes a quarter of the time that a network
    needs before its first step, which is more than a short fit gets back.
    """
    as_traced = side <= _SMALL and not tf.config.get_visible_devices("GPU")
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": as_traced})


def _unforeseen(record: logging.LogRecord) -> bool:
    """Not the warning that graphs are traced anew: each configuration's network has its own, and they are counted."""
    return "triggered tf.function retracing" not in record.getMessage()


def stay_on_host(path: Path, device_bytes: int | None) -> bool:
    """Whether the pixels of a file do: they would take more than 40 % of the GPU's memory (None: there is none)."""
    return device_bytes is None or path.stat().st_size > _PIXEL_SHARE * device_bytes


def load_pixels(path: Path, device_bytes: int | None) -> Any:
    """All images of a `.npy` file as one uint8 tensor, on the host or the GPU as `stay_on_host` says.

    On the host the tensor is the mapped file itself: nothing is copied, workers share the pages, and the system drops
    those that find no room.
    """
    array = memmap_npy(path)
    if not stay_on_host(path, device_bytes):
        return _on_gpu(array)
    if path.stat().st_size >= LARGE:
        touched_at_random(array)
    shared = np.asarray(_Unmarked(array))
    with tf.device(_HOST):
        return tf.experimental.dlpack.from_dlpack(shared.__dlpack__())


def held(pixels: np.ndarray[Any, Any]) -> Any:
    """Images in memory, `(n, side, side, channels)` uint8, as a tensor where the work is done."""
    return _on_gpu(pixels) if tf.config.get_visible_devices("GPU") else tf.constant(pixels)


def _on_gpu(pixels: np.ndarray[Any, Any]) -> Any:
    """A variable: TensorFlow picks bytes of a tensor on the host only, where all of them would be sent at each step."""
    with tf.device(_GPU):
        return tf.Variable(pixels, trainable=False)


class _Unmarked:
    """A read-only array that is not marked so, since DLPack hands on no other; nobody writes to it.

    A writable mapping would be none of the file but of memory yet to be paid for, and refused beyond the machine's.
    """

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array  # stays mapped as long as this lives
        self.__array_interface__ = {
            **array.__array_interface__,
            "data": (array.__array_interface__["data"][0], False),
        }


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device had no room for what it was asked: CUDA and cuDNN say it in words of their own."""
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return True
    internal = isinstance(error, tf.errors.InternalError | tf.errors.UnknownError)
    return internal and any(words in str(error).lower() for words in _NO_ROOM)


def tensor(values: np.ndarray[Any, Any]) -> Any:
    """The array as a tensor."""
    return tf.constant(values)


def versions() -> dict[str, str]:
    """Of TensorFlow and Keras."""
    return {"tensorflow": tf.__version__, "keras": keras.__version__}
