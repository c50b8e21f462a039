"""Several hosts on one study in a real PostgreSQL, with trainings that answer at once."""

from __future__ import annotations

import itertools
import logging
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa

from commands.terminal import log_to
from reports.live_status import StatusFile
from reports.write import write_all
from search import seeds
from search.errors import MismatchError, UserError
from search.events import Listener, SilentListener
from search.fits import executor
from search.optimize import loop
from search.records import SEARCH, FitOutcome, StudyRecord, Trial, TrialState
from search.request import SearchRequest
from search.schedule.budget import Clock
from search.selection.analyse import analyse
from search.session import session
from search.session.setup import StartCancelled
from search.settings import Budget
from search.storage.database import StudyStorage, close, open_storage
from search.storage.ledger import Ledger
from search.storage.load import open_study
from search.storage.trial_attributes import is_done
from search.training.job import FitJob
from spaces.config import Configuration
from tests.factories import make_images
from tests.servers import Server, pooling, programs
from tests.small_searches import small_request
from tests.stand_ins import by_seed, fake_pools, outcome

pytestmark = [
    pytest.mark.study,
    pytest.mark.usefixtures("no_baselines"),
    pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed: shared studies were not tested"),
]


def request(
    images: Path, out: Path, server: Server | str, study: str = "x", trials: int = 8, **changes: Any
) -> SearchRequest:
    storage = server if isinstance(server, str) else server.url
    return small_request(images, out, trials, **{"storage": storage, "study": study, **changes})


@pytest.fixture(autouse=True, scope="module")
def hosts_look_often() -> Iterator[None]:
    """Hosts that wait for others look for them ten times as often."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (executor, loop):
            patch.setattr(module, "_POLL_SECONDS", 0.2)
        yield


class RecordingListener(SilentListener):
    """Keeps the trials that it is told of."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []

    def trial_started(self, number: int, configuration: Configuration, folds: int) -> None:
        self.begun.append(number)

    def trial_finished(self, trial: Trial, pooled: float | None, best: float | None) -> None:
        self.ended.append(trial.number)


def run(
    asked: SearchRequest,
    clock: Clock | None = None,
    answer: Callable[[FitJob], FitOutcome] = by_seed,
    listener: Listener | None = None,
) -> StudyRecord:
    def slowly(job: FitJob) -> FitOutcome:
        time.sleep(0.05)  # so that hosts work side by side
        return answer(job)

    return session.search(asked, listener or SilentListener(), clock or Clock(), fake_pools(slowly)).results.study


def check(study: StudyRecord, trials: int) -> None:
    """What must hold however many hosts there were, and whatever became of them."""
    assert len(study.trials) == trials
    assert len({trial.number for trial in study.trials}) == trials
    fits: dict[str, set[str]] = {}  # of each configuration: one that was drawn twice has one set of fits
    for trial in study.trials:
        fits.setdefault(trial.configuration.hash, set()).update(fit.key for fit in trial.fits)
        assert len({fit.key for fit in trial.fits}) == len(trial.fits)
    keys = [*itertools.chain(*fits.values()), *(fit.key for fit in study.further)]
    assert len(keys) == len(set(keys)), "a fit is there twice"
    for trial in study.trials:
        if trial.state is TrialState.COMPLETE:
            assert {fit.fold for fit in trial.fits} == {0, 1, 2}
            assert all(fit.stage == SEARCH for fit in trial.fits)


def well(job: FitJob) -> FitOutcome:
    """Every network learns."""
    return outcome(job, score=0.85 + 0.02 * seeds.share(job.seed, "luck"))


def test_hosts_share_a_study_and_each_writes_the_whole_of_it(server: Server, images: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as hosts:
        asked = [request(images, tmp_path / str(host), server, "shared") for host in range(3)]
        told = [RecordingListener() for _ in asked]
        studies = list(hosts.map(lambda one, listener: run(one, answer=well, listener=listener), asked, told))
    for listener in told:
        assert len(listener.ended) == len(set(listener.ended)), "a trial was told twice"
        assert set(listener.ended) > set(listener.begun), "those of other hosts are told too"
    for study in studies:
        check(study, trials=8)
        assert study.confirmation is not None
        assert study.confirmation.repeats == studies[0].confirmation.repeats
        assert [trial.configuration for trial in study.trials] == [t.configuration for t in studies[0].trials]
    with opened(server) as storage:
        trials = optuna.load_study(study_name="shared", storage=storage).trials
    starts = [trial.user_attrs.get("start") for trial in trials if is_done(trial)]
    begun = [start for start in starts if start is not None]
    assert len(begun) == len(set(begun)), "no known-good configuration is tried twice"


@pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="PgBouncer is not installed: nothing went through it")
def test_hosts_share_a_study_through_a_pooler(server: Server, images: Path, tmp_path: Path) -> None:
    """Four hosts on three connections, each transaction on another."""
    with pooling(server, connections=3) as pooler, ThreadPoolExecutor(4) as hosts:
        asked = [request(images, tmp_path / str(host), pooler.url, "pooled") for host in range(4)]
        for study in hosts.map(lambda one: run(one, answer=well), asked):
            check(study, trials=8)


@pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="PgBouncer is not installed: nothing went through it")
def test_many_hosts_that_start_at_once_need_one_connection_each_at_a_time(server: Server) -> None:
    """Who holds one and waits for another, waits for ever when all do so."""
    together = threading.Barrier(8)

    def host(url: str) -> None:
        together.wait()
        close(open_storage(Path(), url))

    with pooling(server, connections=2) as pooler, ThreadPoolExecutor(8) as hosts:
        for opened_by in [hosts.submit(host, pooler.url) for _ in range(8)]:
            opened_by.result(timeout=60)


def test_heartbeats_bear_a_clock_change_of_the_server(server: Server) -> None:
    with opened(server) as storage, storage.engine.connect() as connection:
        connection.execute(sa.text("ALTER DATABASE postgres SET timezone TO 'Europe/Berlin'"))
        connection.commit()
    with opened(server) as storage, storage.engine.connect() as connection:
        assert connection.execute(sa.text("SHOW timezone")).scalar() == "UTC"


@contextmanager
def opened(server: Server) -> Iterator[StudyStorage]:
    storage = open_storage(Path(), server.url)
    yield storage
    close(storage)


def test_a_host_with_other_images_is_refused(server: Server, images: Path, tmp_path: Path) -> None:
    run(request(images, tmp_path / "one", server, "refused", trials=1))
    others = make_images(tmp_path / "others", 13)
    with pytest.raises(MismatchError, match="other images"):
        run(request(others, tmp_path / "two", server, "refused", trials=1))
    with pytest.raises(MismatchError, match="another --seed"):
        run(request(images, tmp_path / "two", server, "refused", trials=1, seed=5))


def ends_after(fits: int, clock: Clock, answer: Callable[[FitJob], FitOutcome]) -> Callable[[FitJob], FitOutcome]:
    """As Ctrl-C in one of so many fits."""
    left = itertools.count(fits, -1)

    def counted(job: FitJob) -> FitOutcome:
        if next(left) <= 1:
            clock.stop_requested.set()
        return answer(job)

    return counted


def test_a_host_that_stops_leaves_its_trial_to_others(server: Server, images: Path, tmp_path: Path) -> None:
    clock = Clock()
    run(request(images, tmp_path / "one", server, "stopped", trials=12), clock, ends_after(7, clock, by_seed))
    check(run(request(images, tmp_path / "two", server, "stopped", trials=12)), trials=12)


def test_a_host_that_finds_its_trial_taken_over_takes_the_next_one(
    server: Server, images: Path, tmp_path: Path
) -> None:
    """Without a number of trials too."""
    taken: list[int] = []
    clock = Clock()

    def asleep(job: FitJob) -> FitOutcome:
        if not taken:
            storage = open_storage(tmp_path / "other", server.url)
            study = optuna.load_study(study_name="asleep", storage=storage)
            (trial,) = study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
            storage.set_trial_state_values(trial._trial_id, optuna.trial.TrialState.FAIL)
            taken.append(trial.number)
            close(storage)
        return well(job)

    budget = Budget(trials=None, seconds=None, until_no_progress=False)
    study = run(
        request(images, tmp_path / "one", server, "asleep", budget=budget), clock, ends_after(15, clock, asleep)
    )
    assert taken == [0]
    assert len(study.trials) > 3


def test_the_report_of_a_shared_study_needs_no_host(server: Server, images: Path, tmp_path: Path) -> None:
    run(request(images, tmp_path / "one", server, "read", trials=2))
    check(open_study(tmp_path / "one", server.url, "read"), trials=2)


def test_the_server_may_go_away_for_a_while(server: Server, images: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as hosts:
        running_search = hosts.submit(run, request(images, tmp_path / "one", server, "away", trials=10))
        for _ in range(3):
            time.sleep(0.7)
            server.stop()
            time.sleep(0.3)
            server.start()
        check(running_search.result(timeout=120), trials=10)


def test_a_host_that_finds_the_server_away_waits_for_it(server: Server, images: Path, tmp_path: Path) -> None:
    server.stop()
    with ThreadPoolExecutor(1) as hosts:
        waiting = hosts.submit(run, request(images, tmp_path, server, "late"))
        time.sleep(2.0)
        assert not waiting.done()
        server.start()
        check(waiting.result(timeout=60), trials=8)


@pytest.mark.parametrize("asked", [False, True])
def test_a_server_that_stays_away_is_told_in_one_line_and_ctrl_c_waits_for_nobody(
    asked: bool, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.storage.server._OPEN_SECONDS", 1.0)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"postgresql://me:geheim@127.0.0.1:{nobody.getsockname()[1]}/x"
        clock = Clock()
        if asked:
            clock.stop_requested.set()
        with pytest.raises(StartCancelled if asked else UserError) as told:
            run(request(images, tmp_path, url), clock)
    assert "geheim" not in str(told.value)


def test_a_wrong_url_is_not_waited_for(server: Server, images: Path, tmp_path: Path) -> None:
    wrong = request(images, tmp_path, server.url.replace("/postgres", "/nonesuch"))
    with ThreadPoolExecutor(1) as hosts, pytest.raises(UserError, match='database "nonesuch" does not exist'):
        hosts.submit(run, wrong).result(timeout=60)


def test_a_password_stands_nowhere(server: Server, images: Path, tmp_path: Path) -> None:
    asked = request(images, tmp_path / "one", server, "secret", trials=2)
    with log_to(asked.out, None, quiet=True), StatusFile(asked.out):
        logging.getLogger("search").info("begins")
        run(asked)
        server.stop()
        with pytest.raises(UserError) as caught:
            open_storage(Path(), server.url)
        server.start()
        logging.getLogger("search").error("%s", caught.value)
    write_all(analyse(open_study(asked.out, server.url, "secret")), asked.out)
    written = [file for file in asked.out.rglob("*") if file.is_file()]
    assert {"run.log", "status.json", "report.html", "summary.json", "trials.csv"} <= {file.name for file in written}
    for file in written:
        assert b"geheim" not in file.read_bytes(), file
    with opened(server) as storage:
        assert "geheim" not in str(Ledger(storage.engine, "secret").fact("settings"))
