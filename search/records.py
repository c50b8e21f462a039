"""Records of a study: fits, trials, the description of the images. Plain values without behaviour.

All results of a study are computed from these records. The ledger stores them, and reports read them.
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
    """Return field name -> value of a dataclass; unlike `dataclasses.asdict`, it does not copy the values."""
    return {each.name: getattr(record, each.name) for each in fields(record)}


class Verdict(StrEnum):
    """The way in which a fit ended."""

    LEARNED = "learned"  # ran to its last epoch without a collapse
    COLLAPSED = "collapsed"  # judged to be collapsed, during the fit or at its end
    STOPPED = "stopped"  # ended early without a collapse, such as by successive halving or as too slow
    FAILED = "failed"  # an error that is not the configuration's fault; tried again


class TrialState(StrEnum):
    """The way in which a trial ended, as stored in the study."""

    COMPLETE = "complete"  # all folds were judged
    COLLAPSED = "collapsed"  # a fold collapsed, so the remaining folds were not fitted
    RACED = "raced"  # too far behind the best trial on the folds that were fitted, or too slow
    FAILED = "failed"  # a fit failed twice
    INTERRUPTED = "interrupted"  # cut off by the end of a session; tried again when the study goes on


SEARCH: Final = "search"
"""Stage of the fits of trials."""

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
"""Reason of a fit that successive halving stopped; it is fitted again if its result on all epochs is needed."""

STATUS_FILE: Final = "status.json"  # file in the run folder with the state of the run
TOO_LARGE: Final = "too-large"
"""Reason of a fit that does not fit into the memory of the device."""

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
    repeat: int  # number of the split, from 0
    fold: int  # number of the fold, from 0
    seed: int
    fingerprint: str  # fingerprint of the images
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
    reason: str | None = None  # a key of `search.fit_checks.REASONS`; None for a fit that learned
    evidence: Mapping[str, float] = field(default_factory=dict)  # the measurements that led to the verdict
    epochs: int = 0  # number of finished epochs
    seconds: float = 0.0  # duration of the training
    score: float | None = None  # the study's metric on the validation images as measured; None if there are none
    loss: float | None = None  # plain cross-entropy on the validation images, nats
    skill: float | None = None  # skill on the validation images
    audit: Collapse | None = None  # collapse for which the fit was not stopped because it was audited
    checks: Sequence[Check] = ()
    start: Mapping[str, float] = field(default_factory=dict)  # before the first step: loss, logit_spread, top_share
    layers: FloatArray = field(default_factory=lambda: np.zeros((0, 0, len(LAYER_SIGNALS)), np.float32))
    # (1 + checks, weight layers, signals), the first row was measured before the first step; NaN where not measured
    shares: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    # (checks, K) share of the validation images predicted as each class
    probabilities: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    # (n, K) predictions for the validation images
    corrupted: Mapping[str, float] = field(default_factory=dict)
    # "name/strength", such as "noise/2" -> score on the corrupted validation images; only fits of finalists have it
    predicted: FloatArray | None = None  # (p, K) predictions for other images, if requested; not kept in the ledger


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit(FitOutcome):
    """One training of one configuration on one split with one seed."""

    key: str  # text of its `FitKey`
    trial: int  # number of the first trial with this fit, interrupted trials not counted
    stage: str  # SEARCH, CONFIRM, ...
    configuration: str  # canonical hash
    repeat: int  # number of the split, from 0
    fold: int  # number of the fold, from 0
    attempt: int  # 0, or 1 for the second chance after a soft collapse
    seed: int
    epochs_planned: int = 0  # 0 if the classifier is solved exactly
    rows: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))  # (n,) rows of the validation images
    causes: tuple[Cause, ...] = ()  # likely causes of a collapse or of a score at chance, likeliest first
    symptom: str | None = None  # a key of `search.causes.SYMPTOMS`


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One configuration and its fits on the study's fixed folds."""

    number: int  # number of the trial in the study, from 0
    state: TrialState
    configuration: Configuration
    fits: tuple[Fit, ...]  # fits of this configuration in the search, by fold, then attempt
    reason: str | None = None  # why it did not complete
    seconds: float = 0.0  # duration of the trial


DROPPED_BEHIND: Final = "clearly behind"
COLLAPSES: Final = "collapsed too often"
NOT_JUDGED: Final = "could not be fitted"
NO_TIME: Final = "no time"
"""Reasons why a finalist was not fitted to the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmation:
    """The plan and the outcome of fitting the finalists again. The fits themselves have the stage `CONFIRM`."""

    finalists: tuple[str, ...]  # canonical hashes, the search's best first
    folds: int  # number of folds of a fresh split; fewer than in the search if there are few groups
    repeats: int  # number of fresh splits on which all finalists that were not dropped have been fitted
    planned: int  # planned number of fresh splits
    dropped: Mapping[str, str] = field(default_factory=dict)  # canonical hash -> why it was not fitted to the end
    notes: tuple[str, ...] = ()  # sentences for the user, such as why there are fewer finalists


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """A variant of the recommended configuration. Its fits have the stage `NEIGHBOUR`."""

    configuration: Configuration
    changes: Mapping[str, tuple[Value, Value]]  # hyperparameter -> from, to


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensitivity:
    """The variants that were tried around a configuration."""

    centre: str  # canonical hash of the configuration
    folds: int  # number of the search's folds, from the first, on which the variants were fitted
    variants: tuple[Variant, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSummary:
    """Description of the image folder for reports: classes, sizes, files left out."""

    folder: str  # path of the image folder
    fingerprint: str  # hash of the images, their classes and size
    classes: Mapping[str, int]  # class name -> number of images, in label order
    images: int  # number of images
    quarantined: Mapping[str, str]  # file left out (relative to the folder) -> reason
    image_size: int  # pixels a side; the longest side if images have several shapes
    size_reason: str  # why this size was chosen
    channels: int  # 1 (grey) or 3 (RGB)
    groups: int | None  # number of groups; None without groups
    sizes: Mapping[str, int] = field(default_factory=dict)  # "width x height" of files -> images; rare sizes as "other"
    grey: int | None = None  # number of images without colour; None if not counted
    duplicates: int | None = None  # number of images with the same bytes as another one; None if not counted
    copies: int | None = None  # number of pictures with several images, which are kept together; None if not counted
    shapes: Mapping[str, int] = field(default_factory=dict)  # "width x height" after resizing, if there are several
    white: float | None = None  # pixel value of white in images with more than 8 bits; None if there are none
    apart: Sequence[str] = ()  # classes too small to keep copies of a picture on one side of a split


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyRecord:
    """Everything that is stored of a finished or interrupted study: the input of selection and reports."""

    name: str
    data: DataSummary
    labels: IntArray  # (n,) 0..K-1
    groups: IntArray | None  # (n,) group of each image
    identity: Identity
    plan: Plan
    protocol: TrainingProtocol
    settings: Mapping[str, Any]  # options of the command, for the report
    trials: tuple[Trial, ...]  # by number
    seconds: float  # duration of all sessions together
    device: str
    versions: Mapping[str, str]  # package -> version
    command: str  # the command line
    further: tuple[Fit, ...] = ()  # fits of other stages than the search
    baselines: Mapping[str, float] = field(default_factory=dict)  # constant, knn, logistic: the metric's value
    files: tuple[str, ...] = ()  # (n,) relative to the data folder, in row order
    run_folder: str = ""  # the run folder that reports are written into; empty: the one in `settings`
    thumbnails: Mapping[int, str] = field(default_factory=dict)  # row -> small JPEG, base64
    confirmation: Confirmation | None = None
    sensitivity: Sensitivity | None = None
    test: TestScore | None = None
    ablation: Ablation | None = None
    findings: tuple[tuple[str, str, str], ...] = ()  # kind, severity and detail of each problem found in the images


@dataclass(frozen=True, kw_only=True, slots=True)
class TestScore:
    """Score of the recommended configuration, trained once on all images, on test images that the search never used."""

    score: float  # the study's metric
    n: int  # number of test images
    configuration: str  # canonical hash
    seed: int
    fingerprint: str  # of the test images
    offset: tuple[float, ...] = ()  # (K,) decision offset that was added to the logits


@dataclass(frozen=True, kw_only=True, slots=True)
class Waypoint:
    """A configuration between the user's and the recommended one, judged by fits on the study's first folds."""

    configuration: str  # canonical hash
    scores: tuple[float, ...]  # by fold, those of collapsed fits as min(own, chance); empty if it can't be trained
    reasons: tuple[str, ...] = ()  # reasons of the folds that collapsed

    @property
    def score(self) -> float:
        """Mean score over the folds; NaN if there are none."""
        return sum(self.scores) / len(self.scores) if self.scores else float("nan")


@dataclass(frozen=True, kw_only=True, slots=True)
class AblationStep:
    """One step of an ablation: the changed hyperparameters, and the results of the configuration after the change."""

    changes: Mapping[str, tuple[Value | None, Value]]  # hyperparameter -> old (None if it had no effect), new
    reached: Waypoint
    predicted: float | None  # gain that the surrogate predicted; None without a surrogate
    instead: AblationStep | None = None  # alternative step that was tried here and gained less


@dataclass(frozen=True, kw_only=True, slots=True)
class Ablation:
    """The path from the user's configuration to the recommended one, one change at a time, each verified by fits."""

    start: Waypoint  # the user's configuration; without scores if it can't be trained
    steps: tuple[AblationStep, ...]  # in order; the last one reaches the goal
    goal: str  # canonical hash of the recommended configuration
    folds: int  # number of the study's folds, from the first, on which configurations were fitted
    trials: int  # number of configurations that the surrogate learned from; 0 without a surrogate
    trained: int  # number of fits that were trained for the ablation; fits from the ledger don't count
    seconds: float  # duration of the ablation
    cut_short: bool = False  # whether time ran out, so that the last step makes all remaining changes at once
    note: str = ""  # sentence for the user: why there are no steps, or why it was cut short
