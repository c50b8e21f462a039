"""A single worker process for a training or a prediction."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search.errors import UserError
from search.events import Listener
from search.workers.devices import Gpu, unseen_gpu_message
from search.workers.errors import WorkerError, last_line
from search.workers.interfaces import MakePool, Worker
from search.workers.protocol import WorkerResources

_log = logging.getLogger(__name__)


@contextmanager
def single_worker(
    resources: WorkerResources, gpus: tuple[Gpu, ...], make_pool: MakePool, listener: Listener
) -> Iterator[Worker]:
    """Start a worker for a `with` block; its process ends with the block, also after an exception.

    Args:
        resources: device, threads and log file of the worker.
        gpus: GPUs that the driver lists; a warning is logged if the worker does not use them.
        make_pool: creates a worker pool from the resources of its workers and a function that tells fits to stop.
        listener: notified of the start.

    Raises:
        UserError: TensorFlow does not start.
        RuntimeError: the worker failed in the block.
    """
    pool = make_pool([resources], lambda: False)
    try:
        with pool.worker() as worker:
            listener.stage("Starting TensorFlow in its own process")
            try:
                worker.start()
            except WorkerError as error:
                reason = " ".join([last_line(str(error)), *_last_line_of_log(resources.log)])
                raise UserError(f"TensorFlow does not start: {reason}") from None
            if gpus and worker.ready is not None and not worker.ready.on_gpu:
                _log.warning("%s", unseen_gpu_message(gpus[0]))
            yield worker
    except WorkerError as error:
        raise RuntimeError(str(error)) from None  # our bug, with the worker's own traceback
    finally:
        pool.close()


def _last_line_of_log(log: Path) -> list[str]:
    return log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
