"""Hosts that are killed and a database that is restarted, again and again, while four hosts work on one study.

A few times in the normal run; `make faults` does it twenty times each (`STEADYNET_FAULTS`).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from search.storage.database import close, open_storage
from search.storage.ledger import Ledger
from search.storage.load import open_study
from tests.faults.test_kills import Coordinators, check_fits, done_again, failing_in
from tests.servers import Server, programs

pytestmark = [
    pytest.mark.study,
    pytest.mark.slow,
    pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed: lost hosts were not tried"),
]

EACH = 20 if "STEADYNET_FAULTS" in os.environ else 1
HOSTS, GRACE = 4, 10
TRIALS, FIT_SECONDS = (16, "0.4") if EACH == 1 else (320, "1.5")


def acknowledged(server: Server) -> set[str]:
    storage = open_storage(Path(), server.url)
    try:
        return {fit.key for fit in Ledger(storage.engine, "steadynet").fits()}
    finally:
        close(storage)


def test_hosts_and_the_database_are_lost_again_and_again(server: Server, tmp_path: Path) -> None:
    hosts = Coordinators(tmp_path)
    hosts.environment |= {"STEADYNET_BEGUN": str(tmp_path / "begun"), "STEADYNET_FIT_SECONDS": FIT_SECONDS}

    def start(number: int) -> subprocess.Popen[str]:
        return hosts.start(f"host{number}", "--storage", server.url, "--grace", str(GRACE), trials=TRIALS)

    at_work = {number: start(number) for number in range(HOSTS)}
    draw, faults = random.Random(EACH), ["host", "server"] * EACH
    known: set[str] = set()
    begun = tmp_path / "begun"
    try:
        while not begun.exists() or len(begun.read_text().splitlines()) < HOSTS:
            assert all(process.poll() is None for process in at_work.values())
            time.sleep(0.1)
        draw.shuffle(faults)
        for fault in faults:
            time.sleep(draw.uniform(1.0, 4.0))
            known |= acknowledged(server)
            still = [number for number, process in at_work.items() if process.poll() is None]
            assert still, "the study ended before all faults were tried: give it more trials"
            if fault == "host":
                number = draw.choice(still)
                os.killpg(at_work[number].pid, signal.SIGKILL)
                at_work[number].wait()
                at_work[number] = start(number)
            else:
                server.stop(draw.choice(["immediate", "fast"]))
                time.sleep(draw.uniform(0.2, 2.0))
                server.start()
        for number, process in at_work.items():
            assert process.wait(timeout=600) == 0, hosts.log_tail(f"host{number}")
    finally:
        hosts.close()

    study = open_study(tmp_path / "host0", server.url)
    assert [trial.number for trial in study.trials] == sorted({trial.number for trial in study.trials})
    assert len(study.trials) == TRIALS
    check_fits(study.trials)
    assert known <= acknowledged(server), "an acknowledged fit was lost"
    again = done_again(tmp_path / "begun", failing_in(study))
    # A killed host has one in flight; with so little grace a busy host may be taken for lost after an outage.
    assert again <= EACH * (1 + HOSTS) + len(study.trials) // 10, "more than the fits in flight were done again"
