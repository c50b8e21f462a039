from __future__ import annotations

import gc
import io
import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from search.fit_checks import Check, Checks, Collapse
from search.records import Fit, Verdict
from search.storage.ledger import Ledger
from tests.stand_ins import memory

NUMBERS = {f.name: {"int": 3, "bool": False}.get(str(f.type), 0.25) for f in fields(Check)}


def check(**changes: Any) -> Check:
    return Check(**{**NUMBERS, **changes})


def fit(key: str = "k", **changes: Any) -> Fit:
    values: dict[str, Any] = {
        "key": key,
        "trial": 0,
        "stage": "search",
        "configuration": "c",
        "repeat": 0,
        "fold": 0,
        "attempt": 0,
        "seed": 2**31 - 1,
        "verdict": Verdict.LEARNED,
    }
    return Fit(**{**values, **changes})


@pytest.fixture
def engine() -> sa.Engine:
    return memory()


def same(one: Fit, other: Fit) -> bool:
    """Equality of every field, arrays by type, shape and value, NaN equal to NaN."""
    for f in fields(Fit):
        a, b = getattr(one, f.name), getattr(other, f.name)
        if isinstance(a, np.ndarray):
            if a.dtype != b.dtype or not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
                return False
        elif repr(a) != repr(b):
            return False
    return True


FULL = fit(
    verdict=Verdict.COLLAPSED,
    reason="dead-layer",
    evidence={"epoch": 3, "dead_share": 1.0},
    epochs=3,
    epochs_planned=30,
    seconds=1.5,
    score=0.5,
    loss=0.7,
    skill=-0.1,
    audit=Collapse(reason="prior-predictor", hard=False, epoch=2, evidence={"val_skill": -0.01}),
    checks=(check(val_loss=math.nan, first_gradient=math.inf), check(epoch=4, finite=True, train_loss=-math.inf)),
    start={"finite": 1.0, "loss": 0.7},
    layers=np.array([[[0.5, np.nan, 1.0, 2.0, 0.0, np.inf, 1.0]]], dtype=np.float32),
    shares=np.array([[0.25, 0.75], [1.0, 0.0]], dtype=np.float32),
    rows=np.array([5, 1, 2]),
    probabilities=np.array([[0.25, 0.75], [np.nan, 1.0], [0.0, 1.0]], dtype=np.float32),
)


@pytest.mark.parametrize("written", [fit(), FULL, replace(FULL, checks=(), rows=np.zeros(0, np.int64))])
def test_a_fit_comes_back_as_it_was(engine: sa.Engine, written: Fit) -> None:
    Ledger(engine, "s").write(written)
    read = Ledger(engine, "s").fit("k")
    assert read is not None
    assert same(read, written)
    assert same(next(iter(Ledger(engine, "s").fits())), written)


def test_a_score_that_is_no_number_is_none(engine: sa.Engine) -> None:
    Ledger(engine, "s").write(fit(score=math.nan, loss=math.inf, skill=-math.inf))
    (read,) = Ledger(engine, "s").fits()
    assert (read.score, read.loss, read.skill) == (None, None, None)


@settings(max_examples=15)
@given(st.lists(st.floats(width=32), max_size=6), st.lists(st.floats(), min_size=3, max_size=3))
def test_every_float_survives(values: list[float], numbers: list[float]) -> None:
    array = np.array(values, dtype=np.float32).reshape(-1, 1)
    written = fit(
        probabilities=array,
        rows=np.arange(len(array)),
        checks=(check(train_loss=numbers[0], val_skill=numbers[1], warmth=numbers[2]),),
    )
    engine = memory()
    Ledger(engine, "s").write(written)
    (read,) = Ledger(engine, "s").fits()
    engine.dispose()
    assert same(read, written)


def test_a_key_is_kept_once_and_only_a_failed_fit_is_replaced(engine: sa.Engine) -> None:
    ledger = Ledger(engine, "s")
    for verdict, score in (("failed", None), ("failed", 0.1), ("learned", 0.2), ("learned", 0.3)):
        ledger.write(fit(verdict=Verdict(verdict), score=score))
    (kept,) = ledger.fits()
    assert (kept.verdict, kept.score) == (Verdict.LEARNED, 0.2)
    ledger.write(fit(verdict=Verdict.FAILED))
    assert [one.score for one in ledger.fits()] == [0.2]


def test_fits_come_in_the_order_of_trials_whatever_order_they_were_written_in(engine: sa.Engine) -> None:
    ledger = Ledger(engine, "s")
    for place in ((1, 0, 0), (0, 1, 1), (0, 1, 0), (0, 0, 0)):
        ledger.write(fit(str(place), trial=place[0], fold=place[1], attempt=place[2]))
    assert [one.key for one in ledger.fits()] == ["(0, 0, 0)", "(0, 1, 0)", "(0, 1, 1)", "(1, 0, 0)"]


def test_some_stages_are_asked_for_alone(engine: sa.Engine) -> None:
    ledger, other = Ledger(engine, "s"), Ledger(engine, "t")
    for stage, seconds in (("search", 5.0), ("confirm", 2.0), ("neighbour", 1.5)):
        ledger.write(fit(stage, stage=stage, seconds=seconds))
        other.write(fit(stage, stage=stage, seconds=100.0))
    assert [one.key for one in ledger.fits(stages=("confirm", "neighbour"))] == ["confirm", "neighbour"]
    assert [one.key for one in ledger.fits(["no such configuration"], stages=("search",))] == []
    assert (ledger.seconds(("confirm", "neighbour")), ledger.seconds(("final",))) == (3.5, 0.0)


def test_fits_on_the_same_images_share_their_rows(engine: sa.Engine) -> None:
    ledger = Ledger(engine, "s")
    for key in "ab":
        ledger.write(fit(key, rows=np.arange(7)))
    one, other = ledger.fits()
    assert one.rows is other.rows
    assert not one.rows.flags.writeable


def test_two_studies_share_a_database_and_nothing_else(engine: sa.Engine) -> None:
    one, two = Ledger(engine, "one"), Ledger(engine, "two")
    one.write(fit(score=0.1))
    one.set_fact("seed", 1)
    assert (two.fit("k"), list(two.fits()), two.fact("seed")) == (None, [], None)
    two.write(fit(score=0.2))
    two.set_fact("seed", 2)
    two.forget_facts()
    assert [(led.fit("k").score, led.fact("seed")) for led in (one, two)] == [(0.1, 1), (0.2, None)]


def test_a_fact_is_replaced_and_an_unknown_one_is_none(engine: sa.Engine) -> None:
    ledger = Ledger(engine, "s")
    assert ledger.fact("plan") is None
    for value in ({"notes": ["Zeit ist knapp: ü"], "seconds": None}, {"notes": []}):
        ledger.set_fact("plan", value)
        assert ledger.fact("plan") == value


def test_no_pickle_is_written_or_read(engine: sa.Engine) -> None:
    ledger = Ledger(engine, "s")
    ledger.write(FULL)
    with engine.begin() as connection:
        row = connection.execute(sa.text("SELECT checks, rows, probabilities FROM fits")).one()
        for data in row:
            np.load(io.BytesIO(data), allow_pickle=False)
        evil = io.BytesIO()
        np.save(evil, np.array([Path()], dtype=object), allow_pickle=True)
        connection.execute(sa.text("UPDATE fits SET rows = :evil"), {"evil": evil.getvalue()})
    with pytest.raises(ValueError, match="plain values"):
        ledger.fit("k")
    with pytest.raises(ValueError, match="allow_pickle=False"):
        ledger.write(fit("other", rows=np.array([Path()], dtype=object)))


def test_checks_are_a_sequence_that_makes_each_when_asked() -> None:
    plain = (check(epoch=2), check(epoch=4, val_loss=0.5), check(epoch=6, finite=True))
    table = Checks.of(plain)
    assert len(table) == 3
    assert table[-1].epoch == 6
    assert isinstance(table[0].finite, bool)
    assert [one.epoch for one in table[1:]] == [4, 6]
    assert [one.epoch for one in table] == [2, 4, 6]
    assert table == Checks.of(table)
    assert table != plain[:2]
    assert repr(table) == repr(tuple(table))
    assert not Checks.of(())


class Interrupting:
    """Garbage that lets another thread go on wherever it is collected."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        time.sleep(0)


def test_several_threads_may_read_at_once(tmp_path: Path) -> None:
    ledger = Ledger(sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}"), "study")
    ledger.write(FULL)

    def read(_: int) -> list[Fit]:
        found = []
        for _ in range(100):
            Interrupting()
            found += ledger.fits()
        return found

    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    try:
        sys.setswitchinterval(1e-6)
        gc.set_threshold(10)
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(read, range(4)))
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)
    assert all(same(one, FULL) for part in found for one in part)
