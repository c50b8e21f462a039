"""A study read again, given what was read before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from search.events import SilentListener
from search.records import CUT_BY_RUNG, Fit, FitOutcome, StudyRecord, Trial, TrialState, Verdict
from search.request import SearchRequest
from search.schedule.budget import Clock
from search.session import session
from search.settings import Budget
from search.storage.database import closing, ledger_engine, open_storage
from search.storage.ledger import Ledger
from search.storage.load import read_study, typed_setting
from search.training.job import FitJob
from spaces.presets import CORE
from tests.stand_ins import fake_pools, outcome

pytestmark = pytest.mark.study


def by_turns(job: FitJob) -> FitOutcome:
    """Of half of the configurations, the first fit is cut by a rung."""
    if int(job.configuration.hash, 16) % 2:
        return outcome(job, Verdict.STOPPED, CUT_BY_RUNG)
    return outcome(job)


@pytest.fixture
def opened(no_baselines: None, images: Path, tmp_path: Path) -> Iterator[tuple[Ledger, optuna.Study]]:
    """Of a study of twelve trials."""
    budget = Budget(trials=12, seconds=None, until_no_progress=False)
    request = SearchRequest(data=images, out=tmp_path, space=CORE, budget=budget, folds=3, epochs=30, image_size=8)

    session.search(request, SilentListener(), Clock(), fake_pools(by_turns))
    storage = open_storage(tmp_path, create=False)
    with closing(storage):
        yield Ledger(ledger_engine(storage), "steadynet"), optuna.load_study(study_name="steadynet", storage=storage)


def fits(study: StudyRecord) -> list[tuple[Any, ...]]:
    """All of the trials, by what can be compared."""

    def told(fit: Fit) -> tuple[Any, ...]:
        return fit.key, fit.verdict, fit.reason, fit.score, fit.probabilities.tobytes()

    return [(one.number, one.state, one.reason, tuple(map(told, one.fits))) for one in study.trials]


def cut(study: StudyRecord) -> Trial:
    return next(one for one in study.trials if any(fit.reason == CUT_BY_RUNG for fit in one.fits))


def test_what_can_not_change_is_not_read_again(
    opened: tuple[Ledger, optuna.Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, study = opened
    before = read_study(ledger, study)
    asked: list[Any] = []
    read = Ledger.fits

    def noted(self: Ledger, configurations: Any = None, **options: Any) -> Iterator[Fit]:
        asked.append(configurations)
        return read(self, configurations, **options)

    monkeypatch.setattr(Ledger, "fits", noted)
    again = read_study(ledger, study, before.trials)
    assert fits(again) == fits(before)
    lost = {one.configuration.hash for one in before.trials if any(fit.reason == CUT_BY_RUNG for fit in one.fits)}
    assert asked[0] == lost
    kept = [
        old is new for old, new in zip(before.trials, again.trials, strict=True) if old.state is TrialState.COMPLETE
    ]
    assert kept
    assert all(kept)


def test_what_was_done_again_is(opened: tuple[Ledger, optuna.Study]) -> None:
    """A fit that a rung cut, in whole."""
    ledger, study = opened
    before = read_study(ledger, study)
    old = cut(before).fits[-1]
    ledger.write(replace(old, verdict=Verdict.LEARNED, reason=None, score=0.75))
    again = read_study(ledger, study, before.trials)
    assert fits(again) == fits(read_study(ledger, study))
    changed = next(one for one in again.trials if one.number == cut(before).number)
    assert changed.fits[-1].score == 0.75


def test_settings_are_read_with_their_types_from_text_and_from_typed_records() -> None:
    typed = {
        "follow_links": True,
        "split_copies": False,
        "trials": 12,
        "timeout": 1800.0,
        "window": ["22:00-07:00"],
        "image_size": 64,
        "out": "7",
        "data": "True",
        "space": "core",
    }
    for stored in (typed, {name: str(value) for name, value in typed.items()}):
        assert repr({name: typed_setting(name, value) for name, value in stored.items()}) == repr(typed)
    assert typed_setting("image_size", "native") == "native"
