"""The start of a session: reading the images and opening the study. An invalid request writes nothing."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from typing import Final

import optuna

from search.errors import DamagedError, UserError
from search.events import Listener, SilentListener
from search.fits.context import OpenStudy
from search.optimize.family_shares import FamilyShares
from search.optimize.racing_pruner import search_pruner
from search.optimize.sampler import SteadySampler
from search.request import SearchRequest, check_request, identity, with_stored_weights
from search.schedule.budget import Clock
from search.session.planning import stored_plan
from search.session.study_images import (
    load_study_images,
    record_findings,
    record_images,
    settle_max_side,
    stored_shapes,
)
from search.session.worker_pools import WorkerPools
from search.settings import Identity
from search.storage.compatibility import refuse_other
from search.storage.database import (
    StudyStorage,
    close,
    holds_study,
    is_server,
    ledger_engine,
    open_storage,
    retry_policy_of,
)
from search.storage.ledger import Ledger
from search.storage.run_folder import host_of
from search.storage.trial_attributes import is_used_up

SCHEMA: Final = 1
"""Version of the stored facts and the ledger; studies of other versions are refused."""


class StartCancelled(Exception):
    """Raised if the user stopped the session before there was anything to report."""


class OutOfTime(UserError):
    """Raised if the working hours or the whole budget ended before the images were read."""


def open_session(
    request: SearchRequest, listener: Listener, clock: Clock, pools: WorkerPools, *, will_train: bool = True
) -> OpenStudy:
    """Read the images, open or create the study, and set the clock to the seconds that the study has used so far.

    A study that can't be continued is refused before images are read.

    Args:
        request: the user's request.
        listener: notified of stages and progress.
        clock: resumed with the seconds of earlier sessions.
        pools: created before the images are read, so that they load TensorFlow meanwhile if there are trials to do.
        will_train: whether this session makes fits.

    Raises:
        UserError: the request can't be fulfilled; nothing was written.
        StartCancelled: the user stopped the session while the images were being read.
        OutOfTime: the time ended before the images were read.
    """
    with ExitStack() as undone:
        if holds_study(request.out, request.storage):
            storage, study, ledger = _open(request, clock, undone)
        else:
            storage, study, ledger = None, None, None
        untried = study is None or not study.get_trials(deepcopy=False)
        fresh = untried and request.storage is None  # nothing can be mixed up, whatever was asked for before
        stored = None if ledger is None or fresh else ledger.fact("identity")
        if stored is not None:
            request = with_stored_weights(request, stored)
        size = request.image_size or (stored["image_size"] if stored and not request.native else None)
        has_plan = ledger is not None and stored_plan(ledger) is not None
        used_up = has_plan and study is not None and is_used_up(study, request.budget.trials)
        pools.create(None if untried else ledger, will_train=will_train and not used_up)
        reading = _ReadingListener(listener, clock)
        loaded = load_study_images(
            request,
            reading,
            image_size=size,
            on_gpu=bool(pools.gpus),
            shapes=stored_shapes(None if fresh else ledger),
        )
        images = loaded.images
        listener.data(images.summary)
        design = check_request(request, images)
        if storage is None or study is None or ledger is None:
            storage, study, ledger = _open(request, clock, undone)
        study.sampler = SteadySampler(request.seed, family_of=_family_shares(request))
        wanted = identity(request, images)
        if fresh:
            ledger.forget_facts()
        refuse_other(Identity(**ledger.settle_fact("identity", asdict(wanted))), wanted, request.out)
        settle_max_side(ledger, request)
        ledger.set_fact("schema", SCHEMA)
        record_images(ledger, request, images)
        record_findings(ledger, loaded, native=request.native)
        clock.resume(ledger.own_fact("seconds") or 0.0)
        undone.pop_all()
        return OpenStudy(
            request, images, loaded.test, storage, study, ledger, design, used_up, is_server(request.storage)
        )


def _open(request: SearchRequest, clock: Clock, undone: ExitStack) -> tuple[StudyStorage, optuna.Study, Ledger]:
    try:
        storage = open_storage(request.out, request.storage, should_stop=clock.past_end)
    except UserError:
        if clock.stop_requested.is_set():
            raise StartCancelled from None
        raise
    undone.callback(close, storage)
    study = optuna.create_study(
        storage=storage,
        study_name=request.study,
        load_if_exists=True,
        direction="maximize",
        pruner=search_pruner(),
    )
    host = host_of(request.out) if is_server(request.storage) else ""
    ledger = Ledger(ledger_engine(storage), request.study, retry_policy_of(storage), host)
    schema = ledger.fact("schema")
    if schema not in (None, SCHEMA):
        raise DamagedError(
            f"the study in {request.out} was made by another version (schema {schema}, expected {SCHEMA}). "
            "Continue it with that version, or pass another --out."
        )
    return storage, study, ledger


def _family_shares(request: SearchRequest) -> FamilyShares | None:
    """How pretrained networks and those from scratch share the search; None if it has one kind only."""
    return FamilyShares(by_seconds=request.budget.seconds is not None) if request.space.has_families else None


class _ReadingListener(SilentListener):
    """Forwards the progress of reading images; raises if the user stops the session or the time is over."""

    def __init__(self, listener: Listener, clock: Clock) -> None:
        self._listener, self._clock = listener, clock

    def stage(self, text: str) -> None:
        self._listener.stage(text)

    def progress(self, what: str, done: int, total: int) -> None:
        if self._clock.stop_requested.is_set():
            raise StartCancelled
        if self._clock.past_end():
            raise OutOfTime(
                f"the time ended after {done:,} of {total:,} images ({what}). Pass a longer --timeout or "
                "--window, or start before the working hours: images are then read ahead of them."
            )
        self._listener.progress(what, done, total)
