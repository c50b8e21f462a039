"""What is recorded: fits, their checks, trials, the data's description. Plain values without behaviour.

Every result of a study derives from these records; they are what the ledger keeps and what reports read.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt

from search.causes import Cause
from search.settings import Identity, Plan, Protocol
from spaces.config import Configuration, Value

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


class Verdict(StrEnum):
    """How a fit ended. Four words, never one NaN."""

    LEARNED = "learned"  # ran to its end and tells images apart, or at least was not seen to collapse
    COLLAPSED = "collapsed"  # the configuration is at fault; the reason is stored
    STOPPED = "stopped"  # not worth going on
    FAILED = "failed"  # our or the machine's fault; retried


class TrialState(StrEnum):
    """How a trial ended."""

    COMPLETE = "complete"  # all folds judged
    COLLAPSED = "collapsed"  # a fold collapsed: the rest was not run
    RACED = "raced"  # too far behind the best on the folds that were run, or too slow
    FAILED = "failed"  # a fit failed twice
    INTERRUPTED = "interrupted"  # cut off by the end of a session; tried again when the study goes on


LAYER_SIGNALS: Final = (
    "dead_share",  # units (channels) that give 0 for every probe image, after the activation
    "zero_share",  # outputs that are 0
    "scale",  # standard deviation of the outputs over probe images and units
    "weight_scale",  # root mean square of the kernel
    "update_ratio",  # |change of the kernel over the epoch| / |kernel| / steps
    "gradient",  # mean absolute gradient of the kernel at the epoch's first step
    "zero_gradients",  # share of its entries that are exactly 0
)
"""What each weight layer tells at a check: the last axis of `Fit.layers`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """What a fit tells about itself at one moment: the input of the collapse rules. Nats; NaN where not known.

    Skill is 1 - plain cross-entropy / cross-entropy of the constant predictor at the effective class prior.
    """

    epoch: int  # finished epochs, from 1
    updates: int  # finished optimizer steps
    train_loss: float  # plain cross-entropy of the training batches since the last check, in training mode
    train_skill: float
    val_loss: float  # plain cross-entropy on the validation images; NaN without any
    val_skill: float
    score: float  # the study's metric on the validation images
    auc: float  # mean one-vs-rest area under the curve on the validation images; 0.5 is chance
    top_share: float  # share of validation images given to the most predicted class: 1 is a one-class prediction
    logit_spread: float  # largest over classes of the logit's standard deviation over validation images
    dead_share: float  # largest over hidden layers: share of units that give 0 for every image of the fixed batch
    first_gradient: float  # norm of the first weight layer's gradient, largest since the last check
    last_gradient: float  # the same for the output layer
    update_ratio: float  # |change of the first kernel| / |kernel|, per step, mean since the last check
    finite: bool  # losses, logits and gradients
    warmth: float  # 1 - share of BatchNorm's moving statistics that is still their initial value; 1 without BatchNorm
    stale_skill: float = float("nan")  # val_skill before BatchNorm's statistics were re-estimated; NaN if they were not


_KINDS: Final = {"int": np.int64, "float": np.float64, "bool": np.bool_}
CHECK_DTYPE: Final = np.dtype([(f.name, _KINDS[str(f.type)]) for f in fields(Check)])
"""A check as a row of a table."""


class Checks(Sequence[Check]):
    """The checks of a fit as a table `(checks,)` of `CHECK_DTYPE`; each is made when it is asked for.

    A study has hundreds of thousands, and hardly any is ever looked at.
    """

    def __init__(self, table: np.ndarray[Any, Any]) -> None:
        self.table = table

    @classmethod
    def of(cls, checks: Iterable[Check]) -> Checks:
        """From checks as they are."""
        if isinstance(checks, Checks):
            return checks
        return cls(np.array([astuple(check) for check in checks], dtype=CHECK_DTYPE))

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, place: int) -> Check: ...

    @overload
    def __getitem__(self, place: slice) -> Checks: ...

    def __getitem__(self, place: int | slice) -> Check | Checks:
        found = self.table[place]
        return Checks(found) if isinstance(place, slice) else self._check(found.tolist())

    def __iter__(self) -> Iterator[Check]:
        return map(self._check, self.table.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(tuple(self))

    def _check(self, row: tuple[Any, ...]) -> Check:
        return Check(**dict(zip(self.table.dtype.names or (), row, strict=True)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Collapse:
    """Why a fit was, or would have been, stopped as collapsed."""

    reason: str  # short code: a key of `REASONS`
    hard: bool  # structural evidence, which needs no second chance
    epoch: int
    evidence: Mapping[str, float]  # the numbers that decided


REASONS: Final[Mapping[str, str]] = {
    "non-finite": "The loss or a gradient exploded or became infinite or undefined.",
    "dead-layer": "All units of a layer give zero for every image, so nothing behind it can tell images apart.",
    "no-gradient": "No gradient reaches the first layer, so it does not learn.",
    "constant-output": "The network gives the same answer for every image.",
    "prior-predictor": "The network gives every image the most frequent class and is no better than knowing how "
    "frequent the classes are.",
    "no-progress": "Well into its epochs the training still guessed, and at its pace would have to the end.",
    "behind": "Part of its epochs into its first fold the configuration was behind most others at that epoch.",
    "too-slow": "A fit would have taken longer than the plan allows.",
    "too-large": "Not even one image at a time found room in the device's memory.",
    "worker-died": "The training process died twice, most likely for want of memory.",
    "stalled": "The training process twice said nothing for far longer than epochs take.",
    "raced": "On the folds that were run the configuration was too far behind the best.",
}
"""What each short reason of a collapse or a stop means, in one sentence for people."""


SEARCH: Final = "search"
"""Stage of the fits that trials are made of."""

ABLATION: Final = "ablation"
"""Stage of the fits between the user's configuration and the recommended one. On the search's own folds and seeds: a
trial of the same configuration has the same fits."""

CONFIRM: Final = "confirm"
"""Stage of the finalists' fits: on fresh splits, shared by all finalists, with fresh seeds."""

NEIGHBOUR: Final = "neighbour"
"""Stage of the fits of slightly changed copies of the recommended configuration, on the search's first folds."""

ON_SEARCH_FOLDS: Final = (SEARCH, ABLATION, NEIGHBOUR)
"""Stages on the search's own folds and seeds: a trial of the same configuration has the same fits."""

BEHIND_OTHERS: Final = "behind"
"""Reason of a first fit that a rung stopped: it may be done again where a whole one is wanted."""

TOO_LARGE: Final = "too-large"
"""Reason of a fit that the device has no room for."""

FINAL: Final = "final"
"""Stage of a training on all images."""

HARD_REASONS: Final = frozenset({"non-finite", "dead-layer", "no-gradient"})
"""Structural evidence: such a collapse gets no second chance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FitKey:
    """What makes a fit unique. The same key is never trained twice."""

    configuration: str  # canonical hash
    split: str  # name of the partition, such as "search"
    repeat: int
    fold: int
    seed: int
    fingerprint: str
    protocol: Protocol

    @property
    def text(self) -> str:
        """Sixteen hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """One training of one configuration on one split with one seed: the atom of all results."""

    key: str
    trial: int  # place in the study: the number of the trial that asked first, interruptions not counted
    stage: str  # search, confirm, ...
    configuration: str  # canonical hash
    repeat: int
    fold: int
    attempt: int  # 0, or 1 for the second chance after a soft collapse
    seed: int
    verdict: Verdict
    reason: str | None = None
    evidence: Mapping[str, float] = field(default_factory=dict)
    epochs: int = 0  # run
    epochs_planned: int = 0
    seconds: float = 0.0
    score: float | None = None  # the study's metric on the validation fold as measured; None if there is none
    loss: float | None = None  # plain cross-entropy on the validation fold, nats
    skill: float | None = None
    audit: Collapse | None = None  # the stop that the audit let pass, if the watch fired and the fit ran on
    causes: tuple[Cause, ...] = ()  # of a collapse, or of an end at chance: hypotheses, likeliest first
    symptom: str | None = None  # what an end that is not simply good looks like: `search.collapse.symptoms`
    checks: Sequence[Check] = ()
    start: Mapping[str, float] = field(default_factory=dict)  # before the first step: loss, logit_spread, top_share
    layers: FloatArray = field(default_factory=lambda: np.zeros((0, 0, len(LAYER_SIGNALS)), np.float32))
    # (1 + checks, weight layers, signals), the first row before the first step; NaN where not measured
    corrupted: Mapping[str, float] = field(default_factory=dict)
    # score on corrupted copies of the validation images by "name/strength", such as "noise/2"; confirmed fits only
    shares: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    # (checks, K) share of the validation images given to each class
    rows: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))  # (n,) validation images
    probabilities: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))  # (n, K), rows as above


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One configuration and its fits on the study's fixed folds."""

    number: int  # place in the study, from 0
    state: TrialState
    configuration: Configuration
    fits: tuple[Fit, ...]  # of this configuration in the search, by fold, then attempt
    reason: str | None = None
    seconds: float = 0.0


BEHIND: Final = "clearly behind"
COLLAPSES: Final = "collapsed too often"
NOT_JUDGED: Final = "could not be fitted"
NO_TIME: Final = "no time"
"""Why a finalist was not fitted to the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmation:
    """Which configurations were to be fitted again, and how. The fits themselves have the stage `CONFIRM`."""

    finalists: tuple[str, ...]  # canonical hashes, the search's best first
    folds: int  # k of the fresh splits; smaller than the search's where groups are few
    repeats: int  # done: fresh splits on which all that were not dropped have been fitted
    planned: int  # repeats
    dropped: Mapping[str, str] = field(default_factory=dict)  # canonical hash -> why it was not fitted to the end
    notes: tuple[str, ...] = ()  # for people: fewer finalists for want of time, ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """A slightly changed copy of the recommended configuration. Its fits have the stage `NEIGHBOUR`."""

    configuration: Configuration
    changes: Mapping[str, tuple[Value, Value]]  # hyperparameter -> from, to


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """The copies that were tried around a configuration."""

    centre: str  # canonical hash
    folds: int  # of the search's, the first ones
    copies: tuple[Copy, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSummary:
    """What the images are, for reports."""

    folder: str
    fingerprint: str
    classes: Mapping[str, int]  # images by class name, in label order
    images: int
    quarantined: Mapping[str, str]  # file (relative to the folder) -> reason
    image_size: int
    size_reason: str  # why this size
    channels: int
    groups: int | None  # number of groups, None without
    sizes: Mapping[str, int] = field(default_factory=dict)  # "width x height" of the files -> images; few, then "other"
    grey: int | None = None  # images without colour; None where nobody looked
    duplicates: int | None = None  # images whose file is byte by byte that of another; None where nobody looked


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyRecord:
    """Everything that a finished or interrupted study left: the input of selection and reports."""

    name: str
    data: DataSummary
    labels: IntArray  # (n,) 0..K-1
    groups: IntArray | None  # (n,) group of each image
    identity: Identity
    plan: Plan
    protocol: Protocol
    settings: Mapping[str, Any]  # as given on the command line, for the report
    trials: tuple[Trial, ...]  # by number
    seconds: float  # wall clock of all sessions
    device: str
    versions: Mapping[str, str]
    command: str
    further: tuple[Fit, ...] = ()  # fits outside the search
    baselines: Mapping[str, float] = field(default_factory=dict)  # constant, knn, logistic: the metric's value
    files: tuple[str, ...] = ()  # (n,) relative to the data folder, in row order
    thumbnails: Mapping[int, str] = field(default_factory=dict)  # row -> small JPEG, base64
    confirmation: Confirmation | None = None
    surroundings: Surroundings | None = None
    test: TestScore | None = None
    ablation: Ablation | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TestScore:
    """The recommendation, trained once on all images, on images that were never touched."""

    score: float
    n: int
    configuration: str  # canonical hash
    seed: int
    fingerprint: str  # of the test images
    offset: tuple[float, ...] = ()  # (K,) decision offset that it was scored with


@dataclass(frozen=True, kw_only=True, slots=True)
class Waypoint:
    """A configuration on the way from the user's to the recommended one, as fits on the study's first folds show it."""

    configuration: str  # canonical hash
    scores: tuple[float, ...]  # by fold, collapsed ones as min(own, chance)
    reasons: tuple[str, ...] = ()  # of the folds that collapsed

    @property
    def score(self) -> float:
        """Mean of the folds; NaN without any."""
        return sum(self.scores) / len(self.scores) if self.scores else float("nan")


@dataclass(frozen=True, kw_only=True, slots=True)
class AblationStep:
    """A change on the way, and where it led."""

    changes: Mapping[str, tuple[Value | None, Value]]  # hyperparameter -> from (None: without meaning before), to
    reached: Waypoint
    predicted: float | None  # gain that the surrogate expected; None without one
    instead: AblationStep | None = None  # tried at the same place, and not taken


@dataclass(frozen=True, kw_only=True, slots=True)
class Ablation:
    """The way from the user's configuration to the recommended one, one change at a time, each verified by fits."""

    start: Waypoint  # without scores where it could not be trained
    steps: tuple[AblationStep, ...]  # in order; the last one reaches the goal
    goal: str  # canonical hash of the recommended configuration
    folds: int  # of the study's, the first ones
    trials: int  # that the surrogate learned from; 0: the order is the usual one
    trained: int  # fits made for it, those that the ledger had not counted
    seconds: float
    cut_short: bool = False  # the last step holds all changes that there was no time for
    note: str = ""  # for people: why there are no steps, or why it was cut short
