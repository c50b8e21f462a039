"""Records of a study: fits, trials, the description of the images. Plain values without behaviour.

Every result of a study derives from these records; they are what the ledger keeps and what reports read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Final

import numpy as np

from search.arrays import FloatArray, IntArray
from search.causes import Cause
from search.fit_checks import LAYER_SIGNALS, Check, Collapse
from search.settings import Identity, Plan, TrainingProtocol
from spaces.config import Configuration, Value


def field_values(record: Any) -> dict[str, Any]:
    """The fields of a dataclass by name. Values are not copied, as `dataclasses.asdict` would."""
    return {each.name: getattr(record, each.name) for each in fields(record)}


class Verdict(StrEnum):
    """The way in which a fit ended: one of four words, never a NaN."""

    LEARNED = "learned"  # ran to its end and tells images apart, or at least was not seen to collapse
    COLLAPSED = "collapsed"  # the configuration is at fault; the reason is stored
    STOPPED = "stopped"  # not worth going on
    FAILED = "failed"  # our or the machine's fault; retried


class TrialState(StrEnum):
    """The way in which a trial ended, as stored in the study."""

    COMPLETE = "complete"  # all folds judged
    COLLAPSED = "collapsed"  # a fold collapsed: the rest was not run
    RACED = "raced"  # too far behind the best on the folds that were run, or too slow
    FAILED = "failed"  # a fit failed twice
    INTERRUPTED = "interrupted"  # cut off by the end of a session; tried again when the study goes on


SEARCH: Final = "search"
"""Stage of the fits that trials are made of."""

ABLATION: Final = "ablation"
"""Stage of the fits between the user's configuration and the recommended one, on the search's own folds and seeds: a
trial of the same configuration has the same fits."""

CONFIRM: Final = "confirm"
"""Stage of the finalists' fits: on fresh splits, shared by all finalists, with fresh seeds."""

NEIGHBOUR: Final = "neighbour"
"""Stage of the fits of variants of the recommended configuration, on the search's first folds."""

ON_SEARCH_FOLDS: Final = (SEARCH, ABLATION, NEIGHBOUR)
"""Stages on the search's own folds and seeds: a trial of the same configuration has the same fits."""

CUT_BY_RUNG: Final = "behind"
"""Reason of a first fit that successive halving stopped; it is fitted again where a whole fit is needed."""

STATUS_FILE: Final = "status.json"  # in the run folder: how the run is getting on
TOO_LARGE: Final = "too-large"
"""Reason of a fit that the device has no room for."""

TOO_SLOW: Final = "too-slow"
"""Reason of a fit that would have taken longer than the plan allows."""

MICROBATCHES: Final = "parts_of_a_batch"
"""Key among the signals of a fit's start: number of parts into which each batch was split to fit the device."""

FINAL: Final = "final"
"""Stage of the training on all images."""

BESIDE_TRIALS: Final = (ABLATION, CONFIRM, NEIGHBOUR, FINAL)
"""Stages whose fits belong to no trial."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FitKey:
    """Everything that decides what a fit computes. A fit with the same key is never trained twice."""

    configuration: str  # canonical hash
    split: str  # name of the partition, such as "search"
    repeat: int
    fold: int
    seed: int
    fingerprint: str
    protocol: TrainingProtocol

    @property
    def text(self) -> str:
        """The key as sixteen hexadecimal digits: the ledger's primary key."""
        protocol = self.protocol.as_stored()
        if not self.protocol.images.any_size:  # keys from before images of every size stay valid
            del protocol["shapes"]
        content = asdict(self) | {"protocol": protocol}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class FitOutcome:
    """Outcome of one training: its verdict and its measurements."""

    verdict: Verdict
    reason: str | None = None
    evidence: Mapping[str, float] = field(default_factory=dict)  # the numbers that decided
    epochs: int = 0  # run
    seconds: float = 0.0
    score: float | None = None  # the study's metric on the validation images as measured; None if there are none
    loss: float | None = None  # plain cross-entropy on the validation images, nats
    skill: float | None = None
    audit: Collapse | None = None  # the stop that the audit let pass, if there was one and the fit ran on
    checks: Sequence[Check] = ()
    start: Mapping[str, float] = field(default_factory=dict)  # before the first step: loss, logit_spread, top_share
    layers: FloatArray = field(default_factory=lambda: np.zeros((0, 0, len(LAYER_SIGNALS)), np.float32))
    # (1 + checks, weight layers, signals), the first row before the first step; NaN where not measured
    shares: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    # (checks, K) share of the validation images given to each class
    probabilities: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    # (n, K) of the validation images
    corrupted: Mapping[str, float] = field(default_factory=dict)
    # score on corrupted copies of the validation images by "name/strength", such as "noise/2"; confirmed fits only
    predicted: FloatArray | None = None  # (p, K) of further images, if asked for; not kept in the ledger


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit(FitOutcome):
    """One training of one configuration on one split with one seed: the atom of all results."""

    key: str
    trial: int  # place in the study: the number of the trial that asked first, interruptions not counted
    stage: str  # search, confirm, ...
    configuration: str  # canonical hash
    repeat: int
    fold: int
    attempt: int  # 0, or 1 for the second chance after a soft collapse
    seed: int
    epochs_planned: int = 0
    rows: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))  # (n,) validation images
    causes: tuple[Cause, ...] = ()  # of a collapse, or of an end at chance: hypotheses, likeliest first
    symptom: str | None = None  # what an end that is not simply good looks like: `search.collapse.symptoms`


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One configuration and its fits on the study's fixed folds."""

    number: int  # place in the study, from 0
    state: TrialState
    configuration: Configuration
    fits: tuple[Fit, ...]  # of this configuration in the search, by fold, then attempt
    reason: str | None = None
    seconds: float = 0.0


DROPPED_BEHIND: Final = "clearly behind"
COLLAPSES: Final = "collapsed too often"
NOT_JUDGED: Final = "could not be fitted"
NO_TIME: Final = "no time"
"""Reasons why a finalist was not fitted to the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmation:
    """The plan and the outcome of fitting the finalists again. The fits themselves have the stage `CONFIRM`."""

    finalists: tuple[str, ...]  # canonical hashes, the search's best first
    folds: int  # k of the fresh splits; smaller than the search's where groups are few
    repeats: int  # done: fresh splits on which all that were not dropped have been fitted
    planned: int  # repeats
    dropped: Mapping[str, str] = field(default_factory=dict)  # canonical hash -> why it was not fitted to the end
    notes: tuple[str, ...] = ()  # for people: fewer finalists for want of time, ...


@dataclass(frozen=True, kw_only=True, slots=True)
class PerturbedCopy:
    """A variant of the recommended configuration. Its fits have the stage `NEIGHBOUR`."""

    configuration: Configuration
    changes: Mapping[str, tuple[Value, Value]]  # hyperparameter -> from, to


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensitivity:
    """The variants that were tried around a configuration."""

    centre: str  # canonical hash
    folds: int  # of the search's, the first ones
    copies: tuple[PerturbedCopy, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSummary:
    """Description of the image folder for reports: classes, sizes, files left out."""

    folder: str
    fingerprint: str
    classes: Mapping[str, int]  # images by class name, in label order
    images: int
    quarantined: Mapping[str, str]  # file (relative to the folder) -> reason
    image_size: int  # pixels a side; of images of every size the longest
    size_reason: str  # why this size
    channels: int
    groups: int | None  # number of groups, None without
    sizes: Mapping[str, int] = field(default_factory=dict)  # "width x height" of the files -> images; few, then "other"
    grey: int | None = None  # images without colour; None where nobody looked
    duplicates: int | None = None  # images whose file is byte by byte that of another; None where nobody looked
    copies: int | None = None  # pictures of which there are several images, kept together; None where nobody looked
    shapes: Mapping[str, int] = field(default_factory=dict)  # "width x height" that images of every size get -> images
    white: float | None = None  # what is white in images with more than 8 bits; None where there are none
    apart: Sequence[str] = ()  # classes in which copies of a picture may be on both sides of a split: they have too few


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyRecord:
    """Everything that a finished or interrupted study left: the input of selection and reports."""

    name: str
    data: DataSummary
    labels: IntArray  # (n,) 0..K-1
    groups: IntArray | None  # (n,) group of each image
    identity: Identity
    plan: Plan
    protocol: TrainingProtocol
    settings: Mapping[str, Any]  # as given on the command line, for the report
    trials: tuple[Trial, ...]  # by number
    seconds: float  # wall clock of all sessions
    device: str
    versions: Mapping[str, str]
    command: str
    further: tuple[Fit, ...] = ()  # fits outside the search
    baselines: Mapping[str, float] = field(default_factory=dict)  # constant, knn, logistic: the metric's value
    files: tuple[str, ...] = ()  # (n,) relative to the data folder, in row order
    run_folder: str = ""  # the run folder that reports are written into; empty: the one in `settings`
    thumbnails: Mapping[int, str] = field(default_factory=dict)  # row -> small JPEG, base64
    confirmation: Confirmation | None = None
    sensitivity: Sensitivity | None = None
    test: TestScore | None = None
    ablation: Ablation | None = None
    findings: tuple[tuple[str, str, str], ...] = ()  # kind, severity, detail: what stood out before the search


@dataclass(frozen=True, kw_only=True, slots=True)
class TestScore:
    """Score of the recommendation, trained once on all images, on images that were never touched before."""

    score: float
    n: int
    configuration: str  # canonical hash
    seed: int
    fingerprint: str  # of the test images
    offset: tuple[float, ...] = ()  # (K,) decision offset that it was scored with


@dataclass(frozen=True, kw_only=True, slots=True)
class Waypoint:
    """A configuration between the user's and the recommended one, judged by fits on the study's first folds."""

    configuration: str  # canonical hash
    scores: tuple[float, ...]  # by fold, collapsed ones as min(own, chance)
    reasons: tuple[str, ...] = ()  # of the folds that collapsed

    @property
    def score(self) -> float:
        """Mean score over the folds; NaN without any."""
        return sum(self.scores) / len(self.scores) if self.scores else float("nan")


@dataclass(frozen=True, kw_only=True, slots=True)
class AblationStep:
    """One change of an ablation, with the configuration that it leads to and that one's fits."""

    changes: Mapping[str, tuple[Value | None, Value]]  # hyperparameter -> from (None: without meaning before), to
    reached: Waypoint
    predicted: float | None  # gain that the surrogate expected; None without one
    instead: AblationStep | None = None  # tried at the same place, and not taken


@dataclass(frozen=True, kw_only=True, slots=True)
class Ablation:
    """The path from the user's configuration to the recommended one, one change at a time, each verified by fits."""

    start: Waypoint  # without scores where it could not be trained
    steps: tuple[AblationStep, ...]  # in order; the last one reaches the goal
    goal: str  # canonical hash of the recommended configuration
    folds: int  # of the study's, the first ones
    trials: int  # that the surrogate learned from; 0: the order is the usual one
    trained: int  # fits made for it, those that the ledger had not counted
    seconds: float
    cut_short: bool = False  # the last step holds all changes that there was no time for
    note: str = ""  # for people: why there are no steps, or why it was cut short
