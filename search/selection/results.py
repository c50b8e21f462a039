"""Results of a study: ranking, recommendation, promise, counts of collapses. Derived from the records, never stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from search.arrays import IntArray
from search.causes import Cause
from search.records import Fit, StudyRecord, Trial
from spaces.config import Value


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranked:
    """A trial with all its folds judged, and its scores."""

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
    """Expected score on new images, with a 95 % interval."""

    value: float
    low: float  # 95 %
    high: float
    stages: int  # 1: from the search alone; 2: with confirmed finalists
    recalls: Mapping[str, tuple[float, float, float]]  # class name -> expected recall, low, high
    inconclusive: bool  # the interval reaches down to the best baseline
    images_needed: int | None = None  # in all, to settle it; None where it is settled or nobody can say


@dataclass(frozen=True, kw_only=True, slots=True)
class Finalist:
    """A configuration fitted again on fresh splits with fresh seeds, and the scores of these fits."""

    trial: Trial  # of the search
    fits: tuple[Fit, ...]  # that learned or collapsed, by repeat, then fold
    scores: tuple[float, ...]  # of the fits, collapsed ones as min(own, chance)
    mean: float
    se: float  # Nadeau-Bengio, the configuration's own deviation shrunk towards that of all
    robust: float  # R = mean - se, by which finalists are ranked
    worst: float
    collapsed: int  # of the fits
    collapse_upper: float  # one-sided 95 % bound of the rate
    complete: bool  # all planned fits are there: only such a finalist can win
    veto: bool  # more than 10 % of at least 10 fits collapsed
    healthy: bool  # no veto, and mean - se > chance
    parameters: int  # weights of the network
    equal: bool = False  # can't be told apart from the recommended one (Nadeau-Bengio t, Holm)
    dropped: str | None = None  # why it was not fitted to the end
    corruptions: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    # name -> points of the metric lost under the mild and the strong form


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbour:
    """A slightly changed copy of the recommended configuration, compared with it on the same folds."""

    changes: Mapping[str, tuple[Value, Value]]  # hyperparameter -> from, to
    score: float  # mean of its folds, collapsed ones as min(own, chance)
    difference: float  # to the recommended one on the same folds; negative: worse
    collapsed: bool  # any of its fits
    cliff: bool  # collapsed, or worse by more than two standard errors


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbourhood:
    """Effect of small changes on the recommended configuration."""

    neighbours: tuple[Neighbour, ...]  # worst first
    centre: float  # the recommended one on the same folds
    se: float  # Nadeau-Bengio, of a difference
    drop: float  # centre - median of the neighbours
    cliff: bool  # drop above two standard errors, or any neighbour collapsed


@dataclass(frozen=True, kw_only=True, slots=True)
class SafeRange:
    """Values of a hyperparameter that hold: of neighbours without a cliff and of configurations as good as the best."""

    low: Value | None  # numbers: both ends included; None for choices
    high: Value | None
    choices: tuple[Value, ...]  # of those without an order
    configurations: int  # behind it, the recommended one included


@dataclass(frozen=True, kw_only=True, slots=True)
class Importances:
    """Share of the variance that each hyperparameter explains, 0 .. 1, adding up to at most 1; largest first."""

    score: Mapping[str, float]  # among the trials that did not collapse
    collapse: Mapping[str, float]  # of collapsed or not
    trials: int  # behind `score`
    collapsed: int  # of all trials, behind `collapse`


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """An image that the recommended configuration gets wrong when it was not trained on it."""

    row: int
    label: int  # class of the folder it lies in
    predicted: int
    probabilities: tuple[float, ...]  # (K,) mean over the fits that held it back


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelSuspect:
    """An image whose label is likely wrong (confident learning)."""

    row: int
    label: int
    likely: int
    confidence: float  # probability of `likely`


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScores:
    """Scores of one class against all others, on images that were held back; NaN where there are none."""

    images: int
    precision: float  # share of the images decided for it that are of it; 0 where none is
    recall: float
    f1: float
    auc: float  # against all others
    average_precision: float
    recall_at_precision: float  # share of its images found while 90 % of what is taken for it is right


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OnImages:
    """Predictions of the recommended configuration on images that its networks were not trained on, summed up."""

    confusion: IntArray  # (K, K) images by label x decided class
    mistakes: tuple[Mistake, ...]  # most confidently wrong first
    suspects: tuple[LabelSuspect, ...]  # most suspicious first
    by_class: tuple[ClassScores, ...] = ()  # in label order
    in_metrics: Mapping[str, float] = field(default_factory=dict)  # each metric on all of these images


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendation:
    """The configuration to use, and what to expect of it."""

    ranked: Ranked  # its place in the search
    promise: Promise
    offset: tuple[float, ...]  # (K,) to add to the last layer's logits before deciding
    parameters: int | None = None
    finalist: Finalist | None = None  # None where nothing was confirmed


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """Permutation test of the labels, for studies without a healthy configuration.

    It tells whether the held-out predictions are related to the labels more than to shuffled ones.
    """

    auc: float  # best configuration's, one class against the rest, mean over classes
    shuffled_auc: float  # median of the best under shuffled labels
    p_value: float  # of the best, many configurations allowed for
    upper_95: float  # one-sided bound of `auc`
    baseline: float  # best simple method's score, in the study's metric
    suspect: str  # "networks", "labels", or "unknown": too few images to tell


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """Number of fits that a collapse rule would have stopped but the audit let run on, and how many of them learned."""

    checked: int
    wrongly_stopped: int
    upper_95: float | None  # one-sided Clopper-Pearson bound of the rate; None with nothing checked


@dataclass(frozen=True, kw_only=True, slots=True)
class CauseTally:
    """Number of fits for which a cause was named, and the strongest case."""

    code: str
    first: int  # fits in which it is the likeliest
    named: int  # fits in which it is among the causes
    strongest: Cause
    trial: int  # of the strongest case


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochTally:
    """Number of epochs that were run, and of those that were saved."""

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
class Family:
    """A family of networks, from scratch or on one backbone, and the scores of its configurations in the search."""

    backbone: str  # "none": from scratch
    trainable: str  # of the backbone; empty from scratch
    trials: int
    judged: int  # on all folds
    collapsed: int
    best: float | None  # score on all folds; None where none was judged
    se: float | None  # of the best
    median: float | None  # of those judged
    trial: int | None  # the best
    seconds: float  # of all its fits


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """Everything that the reports present."""

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
    epochs: EpochTally
    depth_map: tuple[MapCell, ...]
    depth_sentence: str  # what the map says, in one sentence
    families: tuple[Family, ...] = ()  # from scratch and pretrained, best first; none without backbones
    finalists: tuple[Finalist, ...] = ()  # best first
    neighbourhood: Neighbourhood | None = None
    safe_ranges: Mapping[str, SafeRange] = field(default_factory=dict)
    importances: Importances | None = None
    on_images: OnImages | None = None
