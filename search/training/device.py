"""Set-up of the device that TensorFlow computes on, and transfer of pixels to it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from threadpoolctl import threadpool_limits

from search.npy import memmap_npy
from search.training.prefetch import LARGE, advise_random_access

_HOST: Final = "/CPU:0"
_GPU: Final = "/GPU:0"
_OUT_OF_MEMORY_WORDS: Final = (
    "out of memory",
    "out_of_memory",
    "dst tensor is not initialized",
    "alloc_failed",
    "failed to allocate",
)
_SMALL_SIDE: Final = 64  # pixels
_PIXEL_SHARE: Final = 0.4  # of the device's memory: above it pixels stay on the host


def set_up(threads: int | None, gpu: int | None) -> str | None:
    """Set up TensorFlow: its threads, its device, GPU memory that grows as needed, deterministic operations.

    Must be called before the first tensor is made.

    Args:
        threads: number of CPU threads; None: TensorFlow decides.
        gpu: index of the GPU to use; None for the CPU.

    Returns:
        Name of the GPU; None if the CPU is used, also because TensorFlow does not see the GPU.
    """
    if threads is not None:
        threadpool_limits(threads)  # of NumPy's linear algebra
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    gpus = tf.config.list_physical_devices("GPU")
    chosen = gpus[gpu : gpu + 1] if gpu is not None else []
    tf.config.set_visible_devices(chosen, "GPU")
    for device in chosen:
        tf.config.experimental.set_memory_growth(device, True)
    tf.config.experimental.enable_op_determinism()
    logging.getLogger("tensorflow").addFilter(_is_unexpected)
    if not chosen:
        return None
    return str(tf.config.experimental.get_device_details(chosen[0]).get("device_name", "GPU"))


def adapt(side: int) -> None:
    """Turn TensorFlow's graph optimizer off for images of at most 64 pixels a side on a CPU, else on.

    Call it before a network is traced. For small images graph optimization takes longer than it saves in a short fit.

    Args:
        side: side of the images in pixels.
    """
    as_traced = side <= _SMALL_SIDE and not tf.config.get_visible_devices("GPU")
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": as_traced})


def _is_unexpected(record: logging.LogRecord) -> bool:
    """False for the warning of retracing: each configuration's network has its own graph, and traces are counted."""
    return "triggered tf.function retracing" not in record.getMessage()


def stay_on_host(path: Path, device_bytes: int | None) -> bool:
    """Whether the pixels of a file stay in main memory.

    Args:
        path: `.npy` file of the images.
        device_bytes: bytes of the GPU's memory; None without a GPU.

    Returns:
        True without a GPU, or if the file is larger than 40 % of its memory.
    """
    return device_bytes is None or path.stat().st_size > _PIXEL_SHARE * device_bytes


def load_pixels(path: Path, device_bytes: int | None) -> Any:
    """Load all images of a `.npy` file as one tensor, in main memory or on the GPU (see `stay_on_host`).

    In main memory the tensor is the mapped file itself: workers share its pages, and the system drops them when memory
    is short.

    Args:
        path: file of a `(n, side, side, channels)` uint8 array.
        device_bytes: bytes of the GPU's memory; None without a GPU.

    Returns:
        `(n, side, side, channels)` uint8 tensor, or variable on the GPU.
    """
    array = memmap_npy(path)
    if not stay_on_host(path, device_bytes):
        return _on_gpu(array)
    if path.stat().st_size >= LARGE:
        advise_random_access(array)
    shared = np.asarray(_Unmarked(array))
    with tf.device(_HOST):
        return tf.experimental.dlpack.from_dlpack(shared.__dlpack__())


def images_on_device(pixels: np.ndarray[Any, Any]) -> Any:
    """Return images `(n, side, side, channels)` uint8 as a tensor on the GPU, or in main memory without a GPU."""
    return _on_gpu(pixels) if tf.config.get_visible_devices("GPU") else tf.constant(pixels)


def _on_gpu(pixels: np.ndarray[Any, Any]) -> Any:
    """As a variable: bytes of a tensor are gathered on the host only, so that all would be sent at each step."""
    with tf.device(_GPU):
        return tf.Variable(pixels, trainable=False)


class _Unmarked:
    """A read-only array that claims to be writable, as DLPack demands; nobody writes to it.

    A mapping that is writable indeed would count as memory of the process, and be refused beyond the machine's.
    """

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array  # stays mapped as long as this lives
        self.__array_interface__ = {
            **array.__array_interface__,
            "data": (array.__array_interface__["data"][0], False),
        }


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of TensorFlow, CUDA or cuDNN means that the device is out of memory."""
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return True
    internal = isinstance(error, tf.errors.InternalError | tf.errors.UnknownError)
    return internal and any(words in str(error).lower() for words in _OUT_OF_MEMORY_WORDS)


def tensor(values: np.ndarray[Any, Any]) -> Any:
    """Convert an array to a tensor of the same shape and dtype."""
    return tf.constant(values)


def versions() -> dict[str, str]:
    """Return the installed versions of "tensorflow" and "keras"."""
    return {"tensorflow": tf.__version__, "keras": keras.__version__}
