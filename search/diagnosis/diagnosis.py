"""Diagnosis of a user's network: describe it, train it unchanged, rank the likely causes, and try fixes."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import keras
import numpy as np
import numpy.typing as npt

from search import seeds
from search.arrays import IntArray
from search.causes import Cause
from search.diagnosis import feeding, probe, scoring, suspects, verdict
from search.diagnosis.anatomy import dissect
from search.diagnosis.changes import Change
from search.diagnosis.confirm import Attempt, FixSearchResult, find_fix, fix_of
from search.diagnosis.evidence import Anatomy, DataSample, Diagnosis, DiagnosisFit, Fix, NetworkProbe, NetworkState
from search.diagnosis.fixes import fixes_for, generic_fixes
from search.diagnosis.keras_fits import KerasTrainer
from search.diagnosis.loading import Case, user_code_error
from search.diagnosis.structure import head
from search.errors import UserCodeError

OnProgress = Callable[[str, int, int], None]

SEEDS: Final = 3
PATIENCE: Final = 2.0  # limit of the first fit, in budgets: at least one fit has to finish
MORE_SEEDS: Final = 2  # further seeds if the first three disagree
WATCHING: Final = 0.45  # share of the budget for fits of the unchanged network
SYMPTOMS: Final = (  # codes of causes that don't matter in a network that learns
    "dead-relu", "exploding-gradient", "label-noise", "lr-too-high", "lr-too-low", "nan", "vanishing-gradient",
    "zero-variance-features",
)  # fmt: skip
DATA_FAULTS: Final = ("label-noise", "leak", "too-few-images")
SURE: Final = 0.8  # score from which the data are at fault rather than the network
STRONG: Final = 0.5  # score from which a cause's changes are tried even then
TRIED: Final = 0.6  # factor of a cause's score if its change did not help
SUSPECT: Final = 0.3  # score from which a finding may be the cause

_log = logging.getLogger(__name__)


def diagnose(
    case: Case,
    images: npt.NDArray[np.uint8],
    labels: IntArray,
    classes: Sequence[str],
    *,
    model: str,
    folder: Path,
    budget: float,
    seed: int,
    on_progress: OnProgress,
) -> Diagnosis:
    """Find out why a network does not learn, and a change that makes it learn.

    Args:
        case: the user's network and the settings of its training.
        images: `(n, h, w, c)` uint8.
        labels: `(n,)` class of each image, 0..K-1.
        classes: names of the K classes.
        model: path of the network, as the user passed it.
        folder: folder of the images.
        budget: seconds; the fit that is running then may take slightly longer.
        seed: root of all seeds.
        on_progress: called with the stage, the finished steps and the number of steps.

    Raises:
        UserCodeError: the user's code failed, or the network can't be trained for a reason that is not recognized.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras would repeat its warnings at each call
        started = time.monotonic()
        look = _look(case, images, labels, classes, seed, on_progress)
        watched = _watch(look, seed, started + WATCHING * budget, PATIENCE * budget, on_progress)
        runs = verdict.counted(watched)
        state = verdict.state(runs, look.chance, look.threshold, held_out=not look.parts.on_training)
        causes = suspects.suspects(look.anatomy, look.material, look.probe, runs, state, look.chance)
        _refuse(case, runs, causes)
        healthy = state in (NetworkState.HEALTHY, NetworkState.SLOW)
        fixes: tuple[Fix, ...] = ()
        outcome: FixSearchResult | None = None
        remarks = tuple(cause for cause in causes if healthy and cause.code not in SYMPTOMS)
        if state is NetworkState.UNTOLD:  # there is nothing to fix but the number of images
            remarks = tuple(c for c in causes if c.code not in SYMPTOMS and c.code not in DATA_FAULTS)
            causes = tuple(cause for cause in causes if cause.code == "too-few-images")
        elif not healthy:
            on_progress("Learning 16 images by heart", 0, 1)
            heart = probe.overfits(case, look.fed, labels, len(classes), seeds.child(seed, "heart"), logits=look.logits)
            look = replace(look, probe=replace(look.probe, overfits=heart))
            causes = suspects.suspects(look.anatomy, look.material, look.probe, runs, state, look.chance)
            outcome = _find_fix(look, causes, runs, started + budget, on_progress)
            causes, remarks, fixes = _settled(causes, outcome, runs)
        return Diagnosis(
            model=model,
            folder=folder,
            material=look.material,
            anatomy=look.anatomy,
            probe=look.probe,
            runs=runs,
            state=state,
            chance=look.chance,
            threshold=look.threshold,
            causes=() if healthy else causes,
            remarks=remarks,
            fixes=fixes,
            seconds=time.monotonic() - started,
            cut_short=len(runs) < len(watched) or (outcome is not None and not outcome.complete),
        )


@dataclass(frozen=True, slots=True)
class _Look:
    """The network and the images before the first fit."""

    anatomy: Anatomy
    material: DataSample
    probe: NetworkProbe
    trainer: KerasTrainer
    parts: feeding.Split
    fed: feeding.Floats
    chance: float
    threshold: float
    logits: bool


def _look(
    case: Case, images: npt.NDArray[np.uint8], labels: IntArray, classes: Sequence[str], seed: int, on: OnProgress
) -> _Look:
    on("Looking at the network", 0, 1)
    fed = feeding.pixels(case, images)
    keras.utils.clear_session()
    keras.utils.set_random_seed(seeds.child(seed, "anatomy"))
    network = case.build()
    try:
        network(fed[:2])
    except Exception as error:
        raise user_code_error(error, f"{case.model}: the network, called with images {fed[:2].shape},") from error
    anatomy = dissect(network, fed[:2])
    same = feeding.first_copies(images)
    parts = feeding.split(labels, same, seed)
    material = feeding.material(case, images, fed, labels, classes, parts, same)
    logits = anatomy.compilation.from_logits and head(anatomy).activation == "linear"
    look = probe.probe(case, fed, labels, len(classes), seeds.child(seed, "fit", 0), logits=logits)
    look = replace(look, misaligned=feeding.misaligned(case, images, labels, len(classes)))
    chance = 1 / len(classes)
    held_out = len(np.unique(same[parts.held_out]))
    threshold = scoring.threshold(chance, material.baseline, held_out)
    raw = fed if case.preprocess is None else images.astype(np.float32)
    trainer = KerasTrainer(
        case, raw, fed, labels, len(classes), parts, logits=logits, learned=threshold,
        goal=scoring.goal(chance, material.baseline, held_out),
    )  # fmt: skip
    on("Looking at the network", 1, 1)
    return _Look(anatomy, material, look, trainer, parts, fed, chance, threshold, logits)


def _watch(look: _Look, seed: int, ends: float, longest: float, on: OnProgress) -> tuple[DiagnosisFit, ...]:
    """Fit the unchanged network three times, and twice more if the three disagree.

    The first fit may take `longest` seconds: without a single finished fit no diagnosis is possible.
    """
    runs: list[DiagnosisFit] = []
    planned = SEEDS
    while len(runs) < planned:
        stage = f"Training it as it is, {len(runs) + 1} of {planned}"
        left = (ends - time.monotonic()) / (planned - len(runs))
        limit = max(left, 5.0) if runs else longest
        run = look.trainer.fit(None, seeds.child(seed, "fit", len(runs)), limit, _epochs(on, stage))
        runs.append(run)
        if run.error:  # it would fail again
            return tuple(replace(run, seed=seeds.child(seed, "fit", i)) for i in range(SEEDS))
        if len(runs) == SEEDS and 0 < sum(r.learned for r in runs) < SEEDS:
            planned += MORE_SEEDS
    return tuple(runs)


def _epochs(on: OnProgress, stage: str) -> Callable[[int, int], None]:
    return lambda done, of: on(stage, done, of)


def _refuse(case: Case, runs: Sequence[DiagnosisFit], causes: Sequence[Cause]) -> None:
    """Raise the error of a fit that failed, unless something in how the network is built explains it."""
    error = next((run.error for run in runs if run.error), None)
    if error is not None and not any(cause.code == "wrong-loss-pairing" and cause.score >= 0.5 for cause in causes):
        raise UserCodeError(
            f"{case.model}: training failed: {error}. Fix the error in your file and run diagnose again.", (error,)
        )


def _find_fix(
    look: _Look, causes: Sequence[Cause], runs: Sequence[DiagnosisFit], ends: float, on: OnProgress
) -> FixSearchResult:
    first: list[Change] = []
    for cause in causes:
        if cause.score >= SUSPECT:
            first += fixes_for(cause, look.anatomy, look.material)[:1]
    often = generic_fixes(look.anatomy, look.material)
    if any(cause.code in DATA_FAULTS and cause.score >= SURE for cause in causes):
        # With useless images, one of many changes would seem to help by luck: try changes for strong suspects only.
        causes, first, often = [cause for cause in causes if cause.score >= STRONG], [], ()
    changes = _distinct([*_interleaved(causes, look), *often])

    def train(change: Change | None, seed: int) -> DiagnosisFit:
        stage = f"Trying: {change.summary if change else 'as it is'}"
        _log.info("%s", stage)
        return look.trainer.fit(change, seed, max(ends - time.monotonic(), 5.0), _epochs(on, stage))

    usual = max((run.seconds for run in runs), default=0.0)
    return find_fix(
        changes, runs, train, chance=look.chance, combine=_distinct([*first, *often]),
        has_time=lambda: time.monotonic() + 0.7 * usual < ends,
    )  # fmt: skip


def _interleaved(causes: Sequence[Cause], look: _Look) -> list[Change]:
    """Order changes by the score of their cause; each further change for the same cause counts for less."""
    rated = [
        (cause.score * 0.75**place, change)
        for cause in causes
        for place, change in enumerate(fixes_for(cause, look.anatomy, look.material))
    ]
    return [change for _, change in sorted(rated, key=lambda pair: -pair[0])]


def _distinct(changes: Sequence[Change]) -> list[Change]:
    """Drop changes that make the same edits as an earlier one."""
    distinct: list[Change] = []
    for change in changes:
        if all(change.edits != other.edits for other in distinct):
            distinct.append(change)
    return distinct


def _settled(
    causes: Sequence[Cause], outcome: FixSearchResult, runs: Sequence[DiagnosisFit]
) -> tuple[tuple[Cause, ...], tuple[Cause, ...], tuple[Fix, ...]]:
    """Return the causes (confirmed ones first), the remarks, and the fixes (recommended one first)."""
    won = outcome.confirmed
    tried: dict[str, bool] = {}
    made = [attempt for attempt in outcome.attempts if any(run.error is None for run in attempt.runs)]
    for attempt in made:
        if attempt.change.size < 3 or attempt is won:
            tried[attempt.change.code] = tried.get(attempt.change.code, False) or attempt is won
    judged = [replace(cause, confirmed=tried.get(cause.code)) for cause in causes]
    if won is not None and all(cause.code != won.change.code for cause in judged):
        judged.append(Cause(code=won.change.code, score=0.3, evidence={"found_by": "trying"}, confirmed=True))
    judged.sort(key=_standing)
    enough = STRONG if won is not None else SUSPECT
    named = [cause for cause in judged if cause.confirmed or cause.score >= enough]
    if not named and judged:
        named = judged[:1]
    remarks = [cause for cause in judged if cause not in named]
    return tuple(named), tuple(remarks), _fixes(made, won, runs)


def _standing(cause: Cause) -> tuple[bool, float]:
    """Sort key: confirmed causes first; a change that did not help lowers the score of its cause."""
    return (not cause.confirmed, -cause.score * (TRIED if cause.confirmed is False else 1.0))


def _fixes(attempts: Sequence[Attempt], won: Attempt | None, runs: Sequence[DiagnosisFit]) -> tuple[Fix, ...]:
    fixes = [fix_of(attempt, runs, confirmed=attempt is won) for attempt in attempts]
    best = sorted(fixes, key=lambda fix: (not fix.confirmed, -max(fix.after, default=0.0)))
    return tuple(best)
