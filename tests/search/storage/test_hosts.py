"""How many workers all hosts of a shared study have."""

from __future__ import annotations

from search.storage.hosts import HostRegistry
from search.storage.ledger import Ledger
from tests.stand_ins import memory


def test_workers_of_the_hosts_that_were_heard_of_lately() -> None:
    engine = memory()
    now = [1_000_000.0]
    hosts = [
        HostRegistry(Ledger(engine, "s", host=name), workers, lambda: now[0]) for name, workers in (("a", 2), ("b", 8))
    ]
    a, b = hosts
    assert a.count_workers() == 2
    b.record()
    assert a.count_workers() == 10
    now[0] += 890.0
    a.record()
    assert a.count_workers() == 10
    now[0] += 20.0
    assert a.count_workers() == 2  # b said nothing for a quarter of an hour
    b.record()
    assert a.count_workers() == 10


def test_a_host_does_not_repeat_itself_each_second_and_a_clock_set_back_does_no_harm() -> None:
    ledger = Ledger(memory(), "s", host="a")
    now, said = [5_000.0], []
    ledger.set_own_fact = lambda name, value: said.append(value["moment"])  # type: ignore[method-assign]
    hosts = HostRegistry(ledger, 1, lambda: now[0])
    for now[0] in (5_000.0, 5_001.0, 5_059.0, 5_061.0, 1_000.0, 1_030.0):
        hosts.record()
    assert said == [5_000.0, 5_061.0, 1_000.0]
