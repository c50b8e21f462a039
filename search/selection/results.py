"""What a study amounts to: ranking, recommendation, promise, the tally of collapses. Derived, never stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from search.causes import Cause
from search.records import StudyRecord, Trial


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranked:
    """A trial with all its folds, and what its scores say."""

    trial: Trial
    pooled: float  # the metric on the pooled out-of-fold predictions (auc, skill: mean over folds)
    folds: tuple[float, ...]  # fold scores, collapsed ones as min(own, chance), second attempts averaged in
    mean: float  # of the folds
    se: float  # Nadeau-Bengio, deviation pooled over trials
    worst: float  # lowest fold
    collapse_rate: float  # collapsed fits / fits
    healthy: bool  # pooled - se > chance


@dataclass(frozen=True, kw_only=True, slots=True)
class Promise:
    """Expected score on new images."""

    value: float
    low: float  # 95 %
    high: float
    stages: int  # 1: from the search alone; 2: with confirmed finalists
    recalls: Mapping[str, tuple[float, float, float]]  # class name -> expected recall, low, high
    inconclusive: bool  # the interval reaches down to the best baseline


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendation:
    """The configuration to use, and what to expect of it."""

    ranked: Ranked
    promise: Promise
    offset: tuple[float, ...]  # (K,) to add to the last layer's logits before deciding
    parameters: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """Where nothing is healthy: do the held-out predictions know more of the labels than of shuffled ones?"""

    auc: float  # best configuration's, one class against the rest, mean over classes
    shuffled_auc: float  # median of the best under shuffled labels
    p_value: float  # of the best, many configurations allowed for
    upper_95: float  # one-sided bound of `auc`
    baseline: float  # best simple method's score, in the study's metric
    suspect: str  # "networks", "labels", or "unknown": too few images to tell


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """How often the watch would have stopped a fit that learns: measured on the fits that it let run on."""

    checked: int
    wrongly_stopped: int
    upper_95: float | None  # one-sided Clopper-Pearson bound of the rate; None with nothing checked


@dataclass(frozen=True, kw_only=True, slots=True)
class CauseTally:
    """How often a cause was named, and the strongest case."""

    code: str
    first: int  # fits in which it is the likeliest
    named: int  # fits in which it is among the causes
    strongest: Cause
    trial: int  # of the strongest case


@dataclass(frozen=True, kw_only=True, slots=True)
class Epochs:
    """Where the epochs went."""

    run: int
    saved_by_collapse: int
    saved_by_racing: int
    full: int  # all trials x folds x epochs


@dataclass(frozen=True, kw_only=True, slots=True)
class MapCell:
    """One cell of the depth x dense-ratio map."""

    depth: tuple[int, int]  # from, to (both included)
    dense_ratio: tuple[float, float]  # from, to (the last cell includes its end)
    trials: int
    collapsed: int  # trials that ended collapsed
    score: float | None  # mean of the trials' running means; collapsed ones at chance


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """Everything the reports present."""

    study: StudyRecord
    chance: float
    ranking: tuple[Ranked, ...]  # best first
    recommended: Recommendation | None
    reason: str | None  # why there is none: "no healthy configuration", "no configuration judged"
    verdicts: Mapping[str, int]  # fits by verdict, all four words
    collapse_reasons: Mapping[str, int]  # fits by reason, most frequent first
    causes: tuple[CauseTally, ...]  # likely causes of fits that collapsed or guessed, most frequent first
    symptoms: Mapping[str, int]  # fits that ran to their end and are not simply good, by symptom
    control: Control | None  # only where no configuration is healthy
    audit: Audit
    epochs: Epochs
    depth_map: tuple[MapCell, ...]
    depth_sentence: str  # what the map says, in one sentence
