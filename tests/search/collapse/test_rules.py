"""Stories of fits that a person can judge, and the verdict on each."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search.collapse.protection import Protection
from search.collapse.rules import NOT_FINITE, FitContext, grace_epochs, judge, judge_end, window_epochs
from search.fit_checks import REASONS, Check, Collapse

NAN, INF = math.nan, math.inf
UNSEEN = dict.fromkeys(("val_loss", "val_skill", "score", "auc", "top_share", "logit_spread"), NAN)
SHARED_FIXTURES = [HealthCheck.function_scoped_fixture]  # they only make values


FADING = {"logit_spread": 1e-4, "train_loss": [0.9 - 0.005 * e for e in range(30)], "train_skill": -0.1}
WAKING = {"logit_spread": [1e-4 * 1.1**e for e in range(30)]}
SLOWLY = {"train_skill": [0.0015 * e for e in range(60)]}


def first_stop(checks: Sequence[Check], context: FitContext) -> Collapse | None:
    """What a fit that reports these checks one by one is stopped by."""
    verdicts = (judge(checks[: n + 1], context) for n in range(len(checks)))
    return next((verdict for verdict in verdicts if verdict is not None), None)


@pytest.mark.parametrize(
    ("story", "skills", "changes", "surroundings", "stop"),
    [
        ("learns at once", [0.1, 0.2, 0.3, 0.4], {"top_share": 0.6}, {}, None),
        ("one class at first, then learns", [0.0] * 8 + [0.1, 0.2, 0.4, 0.5], {"top_share": 1.0}, {}, None),
        ("stuck at the prior", [0.0] * 30, {}, {}, ("prior-predictor", 10)),
        ("stuck, and the same answer for all", [0.0] * 30, {"logit_spread": 1e-5}, {}, ("constant-output", 10)),
        ("stuck a little above the prior's loss", [-0.05] * 30, {}, {}, ("prior-predictor", 10)),
        ("two classes said", [0.0] * 60, {"top_share": 0.9}, {}, None),
        ("the same answer for all, with falling loss", [0.0] * 30, FADING, {}, ("constant-output", 10)),
        ("the same answer for all, by another prior", [0.1] * 30, {**FADING, "auc": 0.5}, {}, ("constant-output", 10)),
        ("nearly the same answer, but more different each time", [0.0] * 30, {**FADING, **WAKING}, {}, None),
        ("guesses in two classes", [0.0] * 60, {"top_share": 0.9}, {"chance": 0.5}, ("no-progress", 24)),
        ("guesses with noise", [-0.1, 0.0, 0.01] * 20, {"top_share": 0.9}, {"chance": 0.5}, ("no-progress", 24)),
        ("guesses, but ranks", [0.0] * 60, {"top_share": 0.9, "auc": 0.63}, {"chance": 0.5}, None),
        ("decides better than chance", [0.0] * 60, {"top_share": 0.9, "score": 0.6}, {"chance": 0.5}, None),
        ("guesses, but learns to", [0.0] * 60, {**SLOWLY, "top_share": 0.9}, {"chance": 0.5}, None),
        ("memorises", [0.0] * 60, {"top_share": 0.9, "train_skill": 0.6}, {"chance": 0.5}, None),
        ("threshold artefact: ranks well", [0.0] * 60, {"auc": 0.8}, {}, None),
        ("ranks the wrong way round: moves still", [0.0] * 60, {"auc": 0.3}, {}, None),
        ("learns in training mode only", [0.0] * 60, {"train_skill": 0.3}, {}, None),
        ("loss still falls", [0.0] * 20, {"train_loss": [0.75 - 0.002 * e for e in range(20)]}, {}, None),
        ("waking up: logits spread", [0.0] * 20, {"logit_spread": [0.01 * 1.1**e for e in range(20)]}, {}, None),
        ("climbs from far below", [-3 + 0.1 * e for e in range(28)], {"train_loss": 1.0}, {}, None),
        ("dead from the start", [0.0] * 5, {"dead_share": 1.0}, {}, ("dead-layer", 2)),
        ("no gradient", [0.0] * 5, {"first_gradient": 1e-9}, {}, ("no-gradient", 2)),
        ("dead, but skilled all the same", [0.2] * 60, {"dead_share": 1.0}, {}, None),
        ("half dead", [0.0] * 9, {"dead_share": 0.9}, {}, None),
        ("dead for one check", [0.0] * 5, {"dead_share": [0.2, 1.0, 0.2, 1.0, 0.2]}, {}, None),
        ("dead later", [0.3, 0.3, 0.0, 0.0, 0.0], {"dead_share": [0.0, 0.0, 1.0, 1.0, 1.0]}, {}, ("dead-layer", 4)),
        ("gradient undefined", [0.0] * 9, {"first_gradient": NAN}, {}, None),
        ("not finite", [0.3, 0.3], {"finite": [True, False]}, {}, ("non-finite", 2)),
        ("loss infinite", [0.3, 0.3], {"train_loss": [0.5, INF]}, {}, ("non-finite", 2)),
        ("loss exploded", [0.0], {"train_loss": 700.0}, {}, ("non-finite", 1)),
        ("validation loss exploded", [0.0], {"val_loss": 700.0}, {}, ("non-finite", 1)),
        ("the same with cold BatchNorm", [0.0], {"val_loss": 4991.0, "warmth": 0.1}, {"batchnorm": True}, None),
        (
            "slow starter with cold BatchNorm",
            [0.0] * 40,
            {"warmth": [1 - 0.99 ** (4 * e) for e in range(1, 41)], "train_skill": 0.2},
            {"batchnorm": True},
            None,
        ),
        ("dead by cold BatchNorm", [0.0] * 9, {"warmth": 0.5, "dead_share": 1.0}, {"batchnorm": True}, None),
        ("dead in evaluation only", [0.0] * 9, {"train_skill": 0.2, "dead_share": 1.0}, {"batchnorm": True}, None),
        ("dead with warm BatchNorm", [0.0] * 9, {"dead_share": 1.0}, {"batchnorm": True}, ("dead-layer", 2)),
        ("stuck with cold BatchNorm", [0.0] * 60, {"warmth": 0.9}, {"batchnorm": True}, None),
        ("rare class: more grace", [0.0] * 60, {}, {"imbalance": 10.0}, ("prior-predictor", 20)),
        ("very rare class: half the epochs at most", [0.0] * 60, {}, {"imbalance": 1e6}, ("prior-predictor", 30)),
        ("twelve epochs, stuck for half", [0.0] * 12, {}, {"epochs": 12}, ("prior-predictor", 6)),
        ("twelve short epochs", [0.0] * 12, {}, {"epochs": 12, "updates_per_epoch": 5}, None),
        (
            "twelve epochs, starts late",
            [0.0] * 6 + [0.02, 0.05, 0.1, 0.2, 0.3, 0.4],
            {"train_loss": [0.70, 0.699, 0.697, 0.695, 0.692, 0.688, 0.67, 0.65, 0.6, 0.5, 0.45, 0.4]},
            {"epochs": 12},
            None,
        ),
        ("undefined ranking", [0.0] * 60, {"auc": NAN}, {}, None),
        ("early trial: calibration", [0.0] * 60, {}, {"protected": Protection()}, None),
        (
            "protected: once among the best",
            [0.0, 0.05] + [0.0] * 58,
            {},
            {"protected": Protection(calibrating=False, epochs=(1, 2), levels=(0.02, 0.04))},
            None,
        ),
        ("dead in calibration", [0.0] * 9, {"dead_share": 1.0}, {"protected": Protection()}, ("dead-layer", 2)),
        ("final training, learns", [NAN] * 60, {**UNSEEN, "train_skill": 0.3, "train_loss": 0.4}, {}, None),
        (
            "final training, stuck",
            [NAN] * 60,
            {**UNSEEN, "train_skill": 0.0, "train_loss": 0.69},
            {},
            ("prior-predictor", 20),
        ),
        (
            "final training, stirs",
            [NAN] * 60,
            {**UNSEEN, "train_skill": 0.0, "train_loss": [0.69 - 0.0003 * e for e in range(60)]},
            {},
            None,
        ),
        (
            "final training, dead",
            [NAN] * 9,
            {**UNSEEN, "train_skill": 0.0, "train_loss": 0.69, "dead_share": 1.0},
            {},
            ("dead-layer", 3),
        ),
    ],
)  # fmt: skip
def test_stories(
    story: str,
    skills: list[float],
    changes: dict[str, Any],
    surroundings: dict[str, Any],
    stop: tuple[str, int] | None,
    curve: Callable[..., list[Check]],
    context: Callable[..., FitContext],
) -> None:
    verdict = first_stop(curve(skills, **changes), context(**surroundings))
    assert (verdict and (verdict.reason, verdict.epoch)) == stop, story
    if verdict:
        assert verdict.reason in REASONS
        assert verdict.hard is (verdict.reason in ("non-finite", "dead-layer", "no-gradient"))
        assert all(math.isfinite(value) for value in verdict.evidence.values())


@pytest.mark.parametrize(("epochs", "every", "epoch"), [(200, 7, 35), (60, 2, 10), (60, 15, 45)])
def test_rare_checks_need_at_least_three(
    epochs: int, every: int, epoch: int, curve: Callable[..., list[Check]], context: Callable[..., FitContext]
) -> None:
    verdict = first_stop(curve([0.0] * (epochs // every), every=every), context(epochs=epochs))
    assert verdict is not None
    assert verdict.epoch == epoch


@pytest.mark.parametrize(
    ("epochs", "updates", "imbalance", "window", "grace"),
    [
        (60, 20, 1, 10, 10),
        (60, 20, 26, 10, 24.15),
        (200, 20, 1, 33.3, 33.3),
        (12, 500, 1, 5, 6),
        (60, 2, 1, 25, 50),  # few updates an epoch: more epochs
        (12, 5, 1, 10, 20),  # 60 updates in all: no soft verdict
    ],
)
def test_window_and_grace(
    epochs: int, updates: int, imbalance: float, window: float, grace: float, context: Callable[..., FitContext]
) -> None:
    surroundings = context(epochs=epochs, updates_per_epoch=updates, imbalance=imbalance)
    assert window_epochs(surroundings) == pytest.approx(window, abs=0.05)
    assert grace_epochs(surroundings) == pytest.approx(grace, abs=0.05)


def test_the_evidence_holds_the_numbers_that_decided(
    stuck: Callable[..., Check], context: Callable[..., FitContext]
) -> None:
    dead = judge([stuck(1, dead_share=1.0), stuck(2, dead_share=1.0)], context())
    assert dead is not None
    assert dead.evidence == {"dead_share": 1, "first_gradient": 0.01, "skill": 0, "train_skill": 0, "checks": 2}
    burst = judge([stuck(1, finite=False, train_loss=NAN, val_loss=INF)], context())
    assert burst is not None
    assert burst.evidence["train_loss"] == burst.evidence["val_loss"] == NOT_FINITE
    assert burst.evidence["finite"] == 0


def test_without_checks_there_is_no_verdict(context: Callable[..., FitContext]) -> None:
    assert judge([], context()) is None


any_skill = st.floats(-2, 0.9)


@settings(max_examples=60, deadline=None, suppress_health_check=SHARED_FIXTURES)
@given(
    start=st.floats(-3, 0.3),
    steps=st.lists(st.floats(0.011, 0.1), min_size=4, max_size=40),
    dead=st.floats(0, 1),
    gradient=st.floats(0, 1),
    batchnorm=st.booleans(),
)
def test_a_fit_whose_skill_rises_is_never_stopped(
    start: float,
    steps: list[float],
    dead: float,
    gradient: float,
    batchnorm: bool,
    curve: Callable[..., list[Check]],
    context: Callable[..., FitContext],
) -> None:
    skills = [min(0.99, skill) for skill in np.cumsum([start, *steps]).tolist()]
    checks = curve(skills, dead_share=dead, first_gradient=gradient)
    assert first_stop(checks, context(batchnorm=batchnorm, epochs=len(checks))) is None


@settings(max_examples=60, deadline=None, suppress_health_check=SHARED_FIXTURES)
@given(skills=st.lists(any_skill, min_size=1, max_size=30), dead=st.sampled_from([0.0, 1.0]), data=st.data())
def test_a_verdict_depends_on_the_past_alone(
    skills: list[float],
    dead: float,
    data: st.DataObject,
    curve: Callable[..., list[Check]],
    context: Callable[..., FitContext],
) -> None:
    more = data.draw(st.lists(any_skill, max_size=10))
    short, long = curve(skills, dead_share=dead), curve(skills + more, dead_share=dead)
    stop = first_stop(short, context(epochs=30))
    if stop is not None:
        assert first_stop(long, context(epochs=30)) == stop


@settings(max_examples=60, deadline=None, suppress_health_check=SHARED_FIXTURES)
@given(level=st.floats(0.0101, 0.3))
def test_some_skill_is_enough_against_the_soft_rule(
    level: float, curve: Callable[..., list[Check]], context: Callable[..., FitContext]
) -> None:
    assert first_stop(curve([level] * 40), context()) is None


ONE_CLASS = np.tile(np.float32([0.7, 0.3]), (20, 1))
BOTH = np.float32([[0.7, 0.3], [0.3, 0.7]] * 10)


@pytest.mark.parametrize(
    ("story", "changes", "probabilities", "reason"),
    [
        ("prior predictor", {}, ONE_CLASS, "prior-predictor"),
        ("constant", {"logit_spread": 1e-6}, ONE_CLASS, "constant-output"),
        ("threshold artefact", {"auc": 0.9}, ONE_CLASS, None),
        ("learned in training mode", {"train_skill": 0.4}, ONE_CLASS, None),
        ("some skill", {"val_skill": 0.02}, ONE_CLASS, None),
        ("both classes said", {}, BOTH, None),
        ("not finite", {"finite": False}, BOTH, "non-finite"),
        ("probabilities undefined", {}, np.full((4, 2), NAN, np.float32), "non-finite"),
        ("no images, learned", {**UNSEEN, "train_skill": 0.4}, np.zeros((0, 2), np.float32), None),
        ("no images, not learned", {**UNSEEN, "train_skill": 0.0}, np.zeros((0, 2), np.float32), "prior-predictor"),
    ],
)
def test_the_verdict_at_the_end(
    story: str,
    changes: dict[str, Any],
    probabilities: Any,
    reason: str | None,
    stuck: Callable[..., Check],
    context: Callable[..., FitContext],
) -> None:
    verdict = judge_end(stuck(60, **changes), probabilities, context())
    assert (verdict and verdict.reason) == reason, story
    if verdict:
        assert verdict.epoch == 60
        assert all(math.isfinite(value) for value in verdict.evidence.values())


@pytest.mark.parametrize(
    ("train_skill", "train_auc", "reason"),
    [
        (-0.5, NAN, "prior-predictor"),
        (-0.5, 0.5, "prior-predictor"),
        (-0.5, 0.6, "prior-predictor"),
        (-0.5, 0.8, None),  # dropout and a high rate cost more than what was learned
        (-0.5, 0.2, None),  # as with validation images: upside down is no collapse
        (0.4, 0.5, None),
    ],
)
def test_without_validation_images_who_ranks_the_training_images_has_learned(
    train_skill: float,
    train_auc: float,
    reason: str | None,
    stuck: Callable[..., Check],
    context: Callable[..., FitContext],
) -> None:
    nothing = np.zeros((0, 2), np.float32)
    check = stuck(60, **{**UNSEEN, "train_skill": train_skill})
    verdict = judge_end(check, nothing, context(), train_auc=train_auc)
    assert (verdict and verdict.reason) == reason
