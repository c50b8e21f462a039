"""How many hosts can work on one study? Coordinators with stand-ins for trainings, on one throw-away PostgreSQL.

    python -m benchmarks.scale_hosts [--hosts 1 4 16 64] [--fit 6.0] [--each 6]

For each number of hosts: a new study of `each` trials a host, whose trainings sleep for `fit` seconds. Told are trials
a second (from the first that begins to the last that ends), what the hosts' time was not spent in trainings, what a
trial costs the database in transactions and processor time, and whether anything was done twice. All of it shares this
machine's cores: where `machine` nears their number, the coordinators were in each other's way, not the database.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import sqlalchemy as sa

from benchmarks.machine import machine
from search.records import Verdict
from search.storage.database import close, open_storage
from search.storage.ledger import Ledger
from search.storage.server import with_driver
from search.storage.trial_attributes import is_done, place_of
from tests.factories import make_images
from tests.servers import Server, programs, running

_LOOK_SECONDS = 2.0

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Round:
    """What one number of hosts gave."""

    hosts: int
    trials: int
    trainings: int
    twice: int  # places that are there twice, or trainings that were begun twice and did not fail
    seconds: float  # from the first trial's beginning to the last one's end
    commits: int  # of the database
    server: float  # its processor seconds
    machine: float  # cores that were at work, of all processes

    def line(self, fit_seconds: float) -> str:
        """For the table."""
        busy = self.trainings * fit_seconds / (self.hosts * self.seconds)
        return (
            f"{self.hosts:5} {self.trials:7} {self.trainings:9} {self.twice:6} {self.trials / self.seconds:9.2f} "
            f"{1 - busy:8.2f} {self.commits / self.trials:9.0f} {1000 * self.server / self.trials:10.0f} "
            f"{self.machine:8.2f}"
        )


def measured(server: Server, folder: Path, hosts: int, each: int, fit_seconds: float) -> Round:
    """A study by so many hosts."""
    study = f"hosts-{hosts}"
    trained = folder / f"{study}.begun"
    environment = {
        **os.environ,
        "STEADYNET_BEGUN": str(trained),
        "STEADYNET_CACHE": str(folder / "cache"),
        "STEADYNET_FIT_SECONDS": str(fit_seconds),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "tests.faults.coordinator", "--data", str(folder / "images")]
    command += ["--trials", str(each * hosts), "--storage", server.url, "--study", study]
    before, cpu, started = _commits(server), _server_seconds(), time.monotonic()
    used = os.times()
    begun = []
    for host in range(hosts):
        with (folder / f"{study}-{host}.log").open("w") as log:
            out = str(folder / study / str(host))
            begun.append(subprocess.Popen([*command, "--out", out], cwd=ROOT, env=environment, stdout=log, stderr=log))
    storage = open_storage(folder, server.url)
    try:
        trials = _searched(storage, study, each * hosts, begun)
    finally:
        for process in begun:  # finalists, explanation and report are each host's own business
            process.kill()
            process.wait()
    wall, now = time.monotonic() - started, os.times()
    server_seconds = _server_seconds() - cpu
    failing = {fit.configuration for fit in Ledger(storage.engine, study).fits() if fit.verdict is Verdict.FAILED}
    close(storage)
    places, begun_fits = Counter(map(place_of, trials)), trained.read_text().splitlines()
    again = Counter(line for line in begun_fits if line.split()[0] not in failing)  # those are tried again
    first = min(trial.datetime_start for trial in trials if trial.datetime_start)
    last = max(trial.datetime_complete for trial in trials if trial.datetime_complete)
    children = now.children_user + now.children_system - used.children_user - used.children_system
    return Round(
        hosts=hosts,
        trials=len(trials),
        trainings=len(begun_fits),
        twice=sum(count - 1 for count in (*places.values(), *again.values())),
        seconds=(last - first).total_seconds(),
        commits=_commits(server) - before,
        server=server_seconds,
        machine=(children + server_seconds) / wall,
    )


def _searched(
    storage: optuna.storages.BaseStorage, study: str, wanted: int, hosts: Sequence[subprocess.Popen[bytes]]
) -> list[optuna.trial.FrozenTrial]:
    """The trials, once so many are done. Raises RuntimeError if a host ended by itself before."""
    while True:
        time.sleep(_LOOK_SECONDS)
        if any(process.poll() for process in hosts):
            raise RuntimeError("a host ended with an error")
        try:
            found = optuna.load_study(study_name=study, storage=storage).trials
        except KeyError:  # no host has come so far
            continue
        if len(done := [trial for trial in found if is_done(trial)]) >= wanted:
            return done


def _commits(server: Server) -> int:
    engine = sa.create_engine(with_driver(server.url))
    with engine.connect() as connection:
        query = sa.text("SELECT pg_stat_force_next_flush(), sum(xact_commit) FROM pg_stat_database")
        found = int(connection.execute(query).one()[1])
    engine.dispose()
    return found


def _server_seconds() -> float:
    """Processor time of all of the server's processes, those that have ended among them."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "stat").read_text().rpartition(")")
                if "(postgres" in words[0]:
                    ticks += sum(map(int, words[2].split()[11:15]))  # own and waited-for children's
            except OSError:
                continue
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--each", type=int, default=6, help="trials a host")
    parser.add_argument("--fit", type=float, default=6.0, help="seconds of a training")
    options = parser.parse_args()
    if programs() is None:
        sys.exit("PostgreSQL is not installed (Debian: apt install postgresql).")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print(machine("optuna", "sqlalchemy", "psycopg"), flush=True)
    print("hosts  trials trainings  twice  trials/s  waiting  commits/t  db ms/t  machine (cores)")
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        make_images(folder / "images", 12)
        with running() as server:
            for hosts in options.hosts:
                print(measured(server, folder, hosts, options.each, options.fit).line(options.fit), flush=True)


if __name__ == "__main__":
    main()
