"""The workers of a session: made for its images, started when needed, moved to the CPU where no GPU is seen."""

from __future__ import annotations

import logging
from collections.abc import Callable

from search.data.images import ImageSet
from search.errors import UserError
from search.study.ledger import Ledger
from search.study.machine import Gpu
from search.study.pool import MakePool, Pool, WorkerFault, setups
from search.study.request import Request

_log = logging.getLogger(__name__)


class Staff:
    """The pool of a session.

    Args:
        request: names metric, run folder and number of workers.
        images: to train on.
        gpus: that the driver lists.
        make_pool: makes the workers, from what each is told and from who says that a fit must stop.
        must_stop: says that a fit must stop.
    """

    def __init__(
        self,
        request: Request,
        images: ImageSet,
        gpus: tuple[Gpu, ...],
        make_pool: MakePool,
        must_stop: Callable[[], bool],
    ) -> None:
        self._request, self._images, self._make_pool, self._must_stop = request, images, make_pool, must_stop
        self.gpus = gpus
        self.pool = self._new_pool()

    def start(self, ledger: Ledger) -> None:
        """Have the first worker up, and keep what it tells of device and versions.

        Raises:
            UserError: TensorFlow does not start.
            Stopped: the user asked for the end.
        """
        self._start()
        ready = self.pool.ready
        if ready is not None and self.gpus and not ready.on_gpu:
            _log.warning(
                "This machine has an NVIDIA GPU (%s) that TensorFlow does not see; the search runs on the CPU. "
                "To use it: pip install 'steadynet[gpu]' (from a checkout: pip install -e '.[gpu]').",
                self.gpus[0].name,
            )
            self.gpus = ()
            self.pool.close()
            self.pool = self._new_pool()
            self._start()
        if (ready := self.pool.ready) is not None:
            ledger.set_fact("device", ready.device)
            ledger.set_fact("versions", {**ledger.fact("versions"), **ready.versions})

    @property
    def restart_seconds(self) -> float:
        """What a worker takes to start again, if one had to be killed."""
        return self.pool.ready.seconds if self.pool.ready is not None else 0.0

    def close(self) -> None:
        """End all processes."""
        self.pool.close()

    def _new_pool(self) -> Pool:
        request = self._request
        told = setups(self._images, request.metric, request.out, request.workers, self.gpus)
        return self._make_pool(told, self._must_stop)

    def _start(self) -> None:
        try:
            with self.pool.worker() as worker:
                worker.start()
        except WorkerFault as error:
            log = self._request.out / "worker.log"
            raise UserError(f"TensorFlow does not start: {str(error).strip().splitlines()[-1]}. See {log}.") from None
