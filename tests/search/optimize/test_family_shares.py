"""Networks from scratch and pretrained ones share a search; none makes the other one's trials or ends them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from search import records
from search.optimize.family_shares import SHARE_BEHIND, FamilyShares
from search.optimize.racing_pruner import search_pruner
from search.optimize.sampler import SteadySampler
from search.storage.trial_attributes import CONFIGURATION, SECONDS, STATE
from spaces.config import FAMILIES, PRETRAINED, SCRATCH
from spaces.space import FAMILY
from tests.factories import configuration

optuna.logging.set_verbosity(optuna.logging.ERROR)

EQUAL = {SCRATCH: 0.5, PRETRAINED: 0.5}
AHEAD = {SCRATCH: SHARE_BEHIND, PRETRAINED: 1 - SHARE_BEHIND}


def trial(
    family: str | None,
    folds: Sequence[float] = (0.8, 0.7, 0.75),
    seconds: float = 1.0,
    state: TrialState = TrialState.COMPLETE,
    *,
    failed: bool = False,
) -> FrozenTrial:
    means = {step: float(np.mean(folds[:step])) for step in range(1, len(folds) + 1)}
    return optuna.trial.create_trial(
        state=state,
        value=means[len(folds)] if state is TrialState.COMPLETE else None,
        params={} if family is None else {FAMILY: family},
        distributions={} if family is None else {FAMILY: CategoricalDistribution(FAMILIES)},
        intermediate_values=means,
        user_attrs={SECONDS: seconds, **({STATE: records.TrialState.FAILED.value} if failed else {})},
    )


def trials(scratch: Sequence[Sequence[float]], pretrained: Sequence[Sequence[float]]) -> list[FrozenTrial]:
    return [trial(SCRATCH, folds) for folds in scratch] + [trial(PRETRAINED, folds) for folds in pretrained]


LOW, MIDDLE, HIGH = (0.5, 0.6, 0.55), (0.72, 0.8, 0.7), (0.8, 0.9, 0.85)


@pytest.mark.parametrize(
    ("scratch", "pretrained", "shares"),
    [
        ([], [], EQUAL),
        ([LOW] * 3, [HIGH] * 2, EQUAL),
        ([LOW] * 2, [HIGH] * 9, EQUAL),
        ([LOW] * 3, [HIGH] * 3, AHEAD),
        ([HIGH] * 3, [LOW] * 3, {SCRATCH: 0.8, PRETRAINED: 0.2}),
        ([LOW, LOW, MIDDLE], [LOW, HIGH, LOW], AHEAD),
        ([LOW, LOW, (0.9, 0.7, 0.6)], [LOW, (0.7, 0.9, 0.7), LOW], EQUAL),
        ([HIGH] * 3, [HIGH] * 3, EQUAL),
        ([(0.5,)] * 3, [(0.9,)] * 3, EQUAL),
        ([(float("inf"), 0.5, 0.5)] * 3, [HIGH] * 3, EQUAL),
    ],
    ids=["none", "two pretrained", "two from scratch", "ahead", "behind", "best of each", "chance", "equal", "one fold",
         "not finite"],
)  # fmt: skip
def test_who_is_clearly_behind_keeps_a_fifth(scratch: Any, pretrained: Any, shares: dict[str, float]) -> None:
    assert FamilyShares(by_seconds=False).shares(trials(scratch, pretrained)) == pytest.approx(shares)


def test_only_complete_trials_are_compared() -> None:
    pruned = [trial(SCRATCH, LOW, state=TrialState.PRUNED) for _ in range(5)]
    shares = FamilyShares(by_seconds=False)
    assert shares.shares([*pruned, *trials([LOW] * 2, [HIGH] * 3)]) == EQUAL
    assert shares.shares([*pruned, *trials([LOW] * 3, [HIGH] * 3)]) == pytest.approx(AHEAD)


@pytest.mark.parametrize("by_seconds", [True, False])
@pytest.mark.parametrize(("better", "share"), [(None, 0.5), (SCRATCH, 0.8), (PRETRAINED, 0.8)])
def test_a_search_is_shared_by_seconds_or_by_number(by_seconds: bool, better: str | None, share: float) -> None:
    """Trials from scratch take seven times as long."""
    shares, done, rng = FamilyShares(by_seconds=by_seconds), list[FrozenTrial](), np.random.default_rng(0)
    for _ in range(400):
        family = shares(done)
        folds = (HIGH if family == better else LOW) if better else rng.uniform(0.5, 0.9, 3)
        done.append(trial(family, folds, seconds=7.0 if family == SCRATCH else 1.0))
    used = {
        family: sum(one.user_attrs[SECONDS] if by_seconds else 1.0 for one in done[20:] if one.params[FAMILY] == family)
        for family in FAMILIES
    }
    measured = used[better or SCRATCH] / sum(used.values())
    assert measured == pytest.approx(share, abs=0.06)


def test_running_trials_count_and_interrupted_ones_do_not() -> None:
    for by_seconds in (True, False):
        shares = FamilyShares(by_seconds=by_seconds)
        done = [trial(SCRATCH, seconds=5), trial(PRETRAINED, seconds=4)]
        running = {family: trial(family, state=TrialState.RUNNING, seconds=0) for family in FAMILIES}
        assert shares([*done, running[SCRATCH]]) == PRETRAINED
        assert shares([*done, running[PRETRAINED]]) == SCRATCH
        interrupted = [trial(PRETRAINED, state=TrialState.FAIL) for _ in range(9)]
        failed = trial(SCRATCH, state=TrialState.FAIL, failed=True)
        assert shares([*done, *interrupted, failed]) == PRETRAINED
        assert shares([running[SCRATCH]]) == PRETRAINED


@pytest.mark.parametrize("by_seconds", [True, False])
def test_a_killed_study_chooses_what_an_undisturbed_one_does(by_seconds: bool) -> None:
    shares, rng = FamilyShares(by_seconds=by_seconds), np.random.default_rng(0)
    undisturbed, killed = list[FrozenTrial](), list[FrozenTrial]()
    for number in range(60):
        family = shares(undisturbed)
        assert shares(killed) == family
        if number % 7 == 3:  # the process dies in the middle of a trial
            killed.append(trial(family, state=TrialState.FAIL, seconds=100.0))
            assert shares(killed) == family
        folds, seconds = rng.uniform(0.4, 0.9, 3), float(rng.uniform(1, 9))
        undisturbed.append(trial(family, folds, seconds))
        killed.append(trial(family, folds, seconds))


def test_trials_of_another_space_belong_to_no_family() -> None:
    assert FamilyShares(by_seconds=False)([trial(None), trial(None)]) == SCRATCH


# Proposals

BETTER_AT = {SCRATCH: 0.1, PRETRAINED: 0.9}


def study(families: bool = True) -> optuna.Study:
    """Of trials with one number, of which each family has a best value of its own."""
    shares = FamilyShares(by_seconds=False) if families else None
    return optuna.create_study(direction="maximize", sampler=SteadySampler(0, family_of=shares))


def judged(at: optuna.Study, count: int, seen: list[tuple[str, float]] | None = None) -> None:
    for _ in range(count):
        asked = at.ask()
        family = asked.suggest_categorical(FAMILY, FAMILIES)
        x = asked.suggest_float("x", 0, 1)
        asked.set_user_attr(SECONDS, 1.0)
        value = 1 - abs(x - BETTER_AT[family])
        for step in (1, 2, 3):
            asked.report(value, step)
        at.tell(asked, value)
        if seen is not None:
            seen.append((family, x))


def test_each_family_is_searched_where_it_is_good() -> None:
    """Without families TPE proposes what is good on the mean of both."""
    seen: list[tuple[str, float]] = []
    judged(study(), 120, seen)
    for family in FAMILIES:
        late = [x for one, x in seen[60:] if one == family]
        assert len(late) >= 12, "a fifth, as the other one has come closer to its best"
        assert np.median(np.abs(np.array(late) - BETTER_AT[family])) < 0.15


def test_trials_of_the_other_family_change_no_proposal() -> None:
    proposals = []
    for other in (0.2, 0.8):
        at = study()
        rng = np.random.default_rng(0)
        for number in range(40):
            family = FAMILIES[number % 2]
            x = rng.uniform()
            at.add_trial(
                optuna.trial.create_trial(
                    params={FAMILY: family, "x": x if family == SCRATCH else other},
                    distributions={FAMILY: CategoricalDistribution(FAMILIES), "x": FloatDistribution(0, 1)},
                    value=x,
                    intermediate_values={1: x, 2: x, 3: x},
                    user_attrs={SECONDS: 1.0},
                )
            )
        asked = at.ask()
        assert asked.suggest_categorical(FAMILY, FAMILIES) == SCRATCH
        proposals.append(asked.suggest_float("x", 0, 1))
    assert proposals[0] == proposals[1]


def test_an_enqueued_trial_is_of_its_own_family() -> None:
    at = study()
    judged(at, 1)  # from scratch: the next one is to be pretrained
    at.enqueue_trial({FAMILY: SCRATCH, "x": 0.25})
    asked = at.ask()
    assert (asked.suggest_categorical(FAMILY, FAMILIES), asked.suggest_float("x", 0, 1)) == (SCRATCH, 0.25)
    assert study(families=False).ask().suggest_categorical("other", ("a", "b")) in ("a", "b")


# Racing


def test_racing_is_within_a_family() -> None:
    at = optuna.create_study(direction="maximize", pruner=search_pruner())

    def run(family: str | None, folds: Sequence[float], depth: int) -> TrialState:
        asked = at.ask({} if family is None else {FAMILY: CategoricalDistribution((family,))})
        asked.set_user_attr(CONFIGURATION, configuration(depth=depth).as_dict())
        for step in range(1, len(folds) + 1):
            asked.report(float(np.mean(folds[:step])), step)
            if asked.should_prune():
                return at.tell(asked, state=TrialState.PRUNED).state
        return at.tell(asked, float(np.mean(folds))).state

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CategoricalDistribution, "__eq__", lambda self, other: True)  # one choice each: no sampler needed
        assert run(PRETRAINED, HIGH, 2) is TrialState.COMPLETE
        assert run(SCRATCH, LOW, 3) is TrialState.COMPLETE
        assert run(SCRATCH, MIDDLE, 4) is TrialState.COMPLETE
        assert run(PRETRAINED, LOW, 5) is TrialState.PRUNED
        assert run(SCRATCH, (0.3, 0.3, 0.3), 6) is TrialState.PRUNED
        assert run(SCRATCH, (0.71, 0.8, 0.7), 7) is TrialState.COMPLETE
