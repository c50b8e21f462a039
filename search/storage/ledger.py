"""The ledger: every fit once, and the facts of the study, in the database that holds the Optuna study too.

A fit is written here before Optuna hears of it. What stands here is never trained again; ranking, promise and
reports derive from it. Arrays are NumPy's own `.npy` bytes, read with pickle forbidden.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from search.arrays import IntArray
from search.causes import Cause
from search.fit_checks import Checks, Collapse
from search.npy import decode_npy, encode_npy
from search.records import CUT_BY_RUNG, Fit, Verdict
from search.storage.retrying import Retry, call_once, create_with_retries

_METADATA: Final = sa.MetaData()
_FITS: Final = sa.Table(
    "fits",
    _METADATA,
    sa.Column("study", sa.String(256), primary_key=True),
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("trial", sa.Integer, nullable=False),
    sa.Column("stage", sa.String(32), nullable=False),
    sa.Column("configuration", sa.String(32), nullable=False),
    sa.Column("repeat", sa.Integer, nullable=False),
    sa.Column("fold", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("verdict", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(64)),
    sa.Column("epochs", sa.Integer, nullable=False),
    sa.Column("epochs_planned", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("score", sa.Float),
    sa.Column("loss", sa.Float),
    sa.Column("skill", sa.Float),
    sa.Column("evidence", sa.Text, nullable=False),  # JSON object
    sa.Column("causes", sa.Text, nullable=False),  # JSON list
    sa.Column("symptom", sa.String(16)),
    sa.Column("audit", sa.Text),  # JSON object
    sa.Column("checks", sa.LargeBinary, nullable=False),  # structured .npy, one field a column
    sa.Column("start", sa.Text, nullable=False),  # JSON object
    sa.Column("corrupted", sa.Text, nullable=False),  # JSON object
    sa.Column("layers", sa.LargeBinary, nullable=False),  # float32 .npy
    sa.Column("shares", sa.LargeBinary, nullable=False),  # float32 .npy
    sa.Column("rows", sa.LargeBinary, nullable=False),  # int64 .npy
    sa.Column("probabilities", sa.LargeBinary, nullable=False),  # float32 .npy
)
_FACTS: Final = sa.Table(
    "facts",
    _METADATA,
    sa.Column("study", sa.String(256), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),  # JSON
)
_INSERTS: Final[Mapping[str, Callable[[sa.Table], Any]]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_MOST_ROWS: Final = 500  # of fits in memory at a time
_KEY: Final = (_FACTS.c.study, _FACTS.c.name)
_FIELDS: Final = tuple(column.name for column in _FITS.columns if column.name != "study")
_OWN_ARRAYS: Final = ("layers", "shares", "probabilities")
_ARRAYS: Final = (*_OWN_ARRAYS, "rows")
_MOST_SPLITS: Final = 256  # validation parts in memory at a time


class Ledger:
    """The table of one study's fits, and of its facts: JSON values by name.

    Args:
        engine: of the database; tables that are missing are created.
        study: name of the study; several studies may share a database.
        retry: calls every statement, perhaps twice: each of them may be repeated.
        host: name of this host's facts, where several hosts work on the study.
    """

    def __init__(self, engine: sa.Engine, study: str, retry: Retry = call_once, host: str = "") -> None:
        self._host = host
        self._engine = engine
        self._study = study
        self._retry = retry
        self.written = 0  # fits recorded by this object
        self._insert = _INSERTS[engine.dialect.name]
        self.on_write: Callable[[], None] = lambda: None  # called after each fit that was recorded
        self._retry(lambda: create_with_retries(lambda: _METADATA.create_all(engine)))

    def write(self, fit: Fit) -> None:
        """Record a fit, unless one with the same key stands there that is not `is_replaceable`."""
        ours = (_FITS.c.study == self._study) & (_FITS.c.key == fit.key)
        worthless = (_FITS.c.verdict == Verdict.FAILED.value) | (_FITS.c.reason == CUT_BY_RUNG)
        row = self._insert(_FITS).values(study=self._study, **_to_row(fit)).on_conflict_do_nothing()
        self._execute(sa.delete(_FITS).where(ours & worthless), row)
        self.written += 1
        self.on_write()

    def fit(self, key: str) -> Fit | None:
        """The fit with this key; None if it is not recorded."""
        return next(iter(self._some([key])), None)

    def fits(
        self, configurations: Collection[str] | None = None, *, stages: Collection[str] | None = None
    ) -> Iterator[Fit]:
        """Iterate over fits in the order of trial, stage, repeat, fold and attempt, with at most 500 in memory.

        Args:
            configurations: hashes of the configurations whose fits are wanted; None for all.
            stages: stages whose fits are wanted; None for all.
        """
        columns = (_FITS.c.trial, _FITS.c.stage, _FITS.c.repeat, _FITS.c.fold, _FITS.c.attempt, _FITS.c.key)
        query = sa.select(_FITS.c.key).where(_FITS.c.study == self._study).order_by(*columns)
        if configurations is not None:
            query = query.where(_FITS.c.configuration.in_(sorted(configurations)))
        if stages is not None:
            query = query.where(_FITS.c.stage.in_(stages))
        keys = self._read(lambda connection: connection.execute(query).scalars().all())
        for first in range(0, len(keys), _MOST_ROWS):
            yield from self._some(keys[first : first + _MOST_ROWS])

    def seconds(self, stages: Collection[str]) -> float:
        """The seconds that the fits of these stages took together."""
        ours = (_FITS.c.study == self._study) & _FITS.c.stage.in_(stages)
        query = sa.select(sa.func.coalesce(sa.func.sum(_FITS.c.seconds), 0.0)).where(ours)
        return float(self._read(lambda connection: connection.execute(query).scalar()))

    def set_fact(self, name: str, value: Any) -> None:
        """Record a JSON value under a name, in place of an earlier one."""
        row = self._insert(_FACTS).values(study=self._study, name=name, value=json.dumps(value))
        self._execute(row.on_conflict_do_update(index_elements=_KEY, set_={"value": row.excluded.value}))

    def settle_fact(self, name: str, value: Any) -> Any:
        """Record a JSON value under a name unless there is one; returns the recorded one, whichever host came first."""
        row = self._insert(_FACTS).values(study=self._study, name=name, value=json.dumps(value))
        self._execute(row.on_conflict_do_nothing())
        return self.fact(name)

    def set_own_fact(self, name: str, value: Any) -> None:
        """Record a JSON value of this host alone, such as its seconds or its workers."""
        self.set_fact(self._own(name), value)

    def own_fact(self, name: str) -> Any:
        """The value of this host alone under a name; None if there is none."""
        return self.fact(self._own(name))

    def hosts_facts(self, name: str) -> list[Any]:
        """The values of all hosts under a name."""
        ours = (_FACTS.c.study == self._study) & ((_FACTS.c.name == name) | _FACTS.c.name.startswith(f"{name}@"))
        query = sa.select(_FACTS.c.value).where(ours)
        return [json.loads(value) for value in self._read(lambda connection: connection.execute(query).scalars().all())]

    def _own(self, name: str) -> str:
        return f"{name}@{self._host}" if self._host else name

    def forget_facts(self) -> None:
        """Delete all facts, to start anew with a study that holds no trial yet."""
        self._execute(sa.delete(_FACTS).where(_FACTS.c.study == self._study))

    def fact(self, name: str) -> Any:
        """The value recorded under a name; None if there is none."""
        query = sa.select(_FACTS.c.value).where((_FACTS.c.study == self._study) & (_FACTS.c.name == name))
        value = self._read(lambda connection: connection.execute(query).scalar())
        return None if value is None else json.loads(value)

    def _some(self, keys: Sequence[str]) -> list[Fit]:
        """The fits with these keys, in this order; those that are not there left out."""
        query = sa.select(_FITS).where((_FITS.c.study == self._study) & _FITS.c.key.in_(keys))
        rows = self._read(lambda connection: connection.execute(query).mappings().all())
        found = {row["key"]: row for row in rows}
        return [_from_row(found[key]) for key in keys if key in found]

    def _execute(self, *statements: Any) -> None:
        """In one transaction."""

        def ask() -> None:
            with self._engine.begin() as connection:
                for statement in statements:
                    connection.execute(statement)

        self._retry(ask)

    def _read(self, query: Callable[[sa.Connection], Any]) -> Any:
        def ask() -> Any:
            with self._engine.connect() as connection:
                return query(connection)

        return self._retry(ask)


def is_replaceable(fit: Fit) -> bool:
    """Whether a fit may be done again and recorded anew: it failed, or a rung of successive halving ended it."""
    return fit.verdict is Verdict.FAILED or fit.reason == CUT_BY_RUNG


def _to_row(fit: Fit) -> dict[str, Any]:
    row = {name: getattr(fit, name) for name in _FIELDS}
    row["verdict"] = fit.verdict.value
    row["evidence"] = json.dumps(dict(fit.evidence))
    row["audit"] = None if fit.audit is None else json.dumps(asdict(fit.audit))
    row["causes"] = json.dumps([asdict(cause) for cause in fit.causes])
    row["checks"] = encode_npy(Checks.of(fit.checks).table)
    row["start"] = json.dumps(dict(fit.start))
    row["corrupted"] = json.dumps(dict(fit.corrupted))
    for name in _ARRAYS:
        row[name] = encode_npy(getattr(fit, name))
    for name in ("score", "loss", "skill"):
        if row[name] is not None and not math.isfinite(row[name]):
            row[name] = None
    return row


def _from_row(row: Mapping[Any, Any]) -> Fit:
    values = {name: row[name] for name in _FIELDS}
    values["verdict"] = Verdict(row["verdict"])
    values["evidence"] = _object(row["evidence"])
    values["audit"] = None if row["audit"] is None else Collapse(**json.loads(row["audit"]))
    values["causes"] = () if row["causes"] == "[]" else tuple(Cause(**cause) for cause in json.loads(row["causes"]))
    values["checks"] = Checks(decode_npy(row["checks"]))
    values["start"] = json.loads(row["start"])
    values["corrupted"] = _object(row["corrupted"])
    values |= {name: decode_npy(row[name]) for name in _OWN_ARRAYS}
    values["rows"] = _rows(row["rows"])
    return Fit(**values)


def _object(text: str) -> dict[str, Any]:
    """From JSON; nearly all are empty."""
    return {} if text == "{}" else json.loads(text)


@lru_cache(maxsize=_MOST_SPLITS)
def _rows(data: bytes) -> IntArray:
    """One array for all fits that were validated on the same images."""
    rows = decode_npy(data)
    rows.flags.writeable = False
    return rows
