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
    """A variant of the recommended configuration, compared with it on the same folds."""

    changes: Mapping[str, tuple[Value, Value]]  # hyperparameter -> from, to
    score: float  # mean of its folds, collapsed ones as min(own, chance)
    difference: float  # score less that of the recommended one on the same folds; negative: worse
    collapsed: bool  # whether any of its fits collapsed
    cliff: bool  # collapsed, or worse by more than two standard errors


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbourhood:
    """Effects of small changes of the recommended configuration."""

    neighbours: tuple[Neighbour, ...]  # worst first
    centre: float  # score of the recommended configuration on the same folds
    se: float  # Nadeau-Bengio, of a difference
    drop: float  # centre - median of the neighbours
    cliff: bool  # drop above two standard errors, or any neighbour collapsed


@dataclass(frozen=True, kw_only=True, slots=True)
class SafeRange:
    """Range of a hyperparameter in which the recommended configuration keeps its score."""

    low: Value | None  # lowest value, included; None for a categorical hyperparameter
    high: Value | None  # highest value, included; None for a categorical hyperparameter
    choices: tuple[Value, ...]  # safe values of a categorical hyperparameter; empty for a numeric one
    configurations: int  # number of configurations behind the range, the recommended one included


@dataclass(frozen=True, kw_only=True, slots=True)
class Importances:
    """Share of the variance that each hyperparameter explains, 0..1, adding up to at most 1; largest first."""

    score: Mapping[str, float]  # of the score, among the trials that did not collapse
    collapse: Mapping[str, float]  # of collapsed (1) or not (0), among the trials that can collapse
    trials: int  # number of trials that did not collapse
    collapsed: int  # number of trials that collapsed


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """An image that the recommended configuration misclassifies when it was not trained on it."""

    row: int  # row of the image in the study's arrays
    label: int  # 0..K-1
    predicted: int  # predicted class, with the decision offset
    probabilities: tuple[float, ...]  # (K,) mean of the out-of-fold predictions, with the decision offset


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelSuspect:
    """An image whose label is likely wrong (confident learning)."""

    row: int  # row of the image in the study's arrays
    label: int  # 0..K-1
    likely: int  # class that the networks suggest instead
    confidence: float  # probability of `likely`


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScores:
    """Scores of one class against all others, on out-of-fold predictions; NaN if the class has no images."""

    images: int  # number of images of the class
    precision: float  # 0 if no image was classified as this class
    recall: float
    f1: float
    auc: float
    average_precision: float
    recall_at_precision: float  # largest recall at which the precision is at least 90 %


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OnImages:
    """Summary of the recommended configuration's out-of-fold predictions."""

    confusion: IntArray  # (K, K) number of images by label and predicted class
    mistakes: tuple[Mistake, ...]  # most confidently wrong first
    suspects: tuple[LabelSuspect, ...]  # most suspicious first
    by_class: tuple[ClassScores, ...] = ()  # in label order
    in_metrics: Mapping[str, float] = field(default_factory=dict)  # metric -> value on all predicted images


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendation:
    """The configuration to use, and its promise."""

    ranked: Ranked  # its trial and scores in the search
    promise: Promise
    offset: tuple[float, ...]  # (K,) decision offset, to add to the last layer's logits
    parameters: int | None = None  # number of the network's weights
    finalist: Finalist | None = None  # its fits on fresh splits; None if no finalist was fitted on all of them


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """Permutation test of the labels, for studies without a healthy configuration.

    It tells whether out-of-fold predictions are more related to the labels than to shuffled labels.
    """

    auc: float  # of the best configuration, one class against the rest, mean over classes
    shuffled_auc: float  # median over the shuffles of the best configuration's AUC under shuffled labels
    p_value: float  # of `auc`, corrected for the number of configurations
    upper_95: float  # one-sided upper 95 % bound of `auc`
    baseline: float  # best simple method's score, in the study's metric
    suspect: str  # "networks", "labels", or "unknown": too few images to tell


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """Number of fits that a collapse rule would have stopped but the audit let run on, and how many of them learned."""

    checked: int  # fits that would have been stopped
    wrongly_stopped: int  # of these, fits that learned
    upper_95: float | None  # one-sided upper 95 % bound of the rate (Clopper-Pearson); None if `checked` is 0


@dataclass(frozen=True, kw_only=True, slots=True)
class CauseTally:
    """Number of fits for which a cause was named, and the case with the highest score."""

    code: str  # a key of `search.causes.CAUSES`
    first: int  # fits in which it is the likeliest cause
    named: int  # fits in which it is among the causes
    strongest: Cause  # the case with the highest score
    trial: int  # number of the trial of `strongest`


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochTally:
    """Number of epochs that were run and that were saved."""

    run: int
    saved_by_collapse: int  # not run because a trial collapsed
    saved_by_racing: int  # not run because a trial was raced out
    full: int  # epochs without any saving: trials x folds x planned epochs


@dataclass(frozen=True, kw_only=True, slots=True)
class MapCell:
    """One cell of the depth x dense-ratio map."""

    depth: tuple[int, int]  # from, to (both included)
    dense_ratio: tuple[float, float]  # from (included), to (included in the last cell only)
    trials: int  # trials in the cell
    collapsed: int  # trials that ended collapsed
    score: float | None  # mean of the trials' running means; collapsed ones at chance


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkKind:
    """Networks from scratch, or all that use one backbone in the same way, and their scores in the search."""

    backbone: str  # "none": from scratch
    trainable: str  # the part of the backbone that is trained; "" from scratch
    is_closed_form: bool  # whether its classifiers are solved exactly, without epochs
    trials: int  # trials that neither failed nor were interrupted
    judged: int  # trials that were judged on all folds
    collapsed: int  # trials that collapsed
    best: float | None  # highest pooled score; None if `judged` is 0
    se: float | None  # standard error of `best`
    median: float | None  # median of the pooled scores
    trial: int | None  # number of the trial with the highest score
    seconds: float  # duration of all its trials together, with the time in which features were made


@dataclass(frozen=True, kw_only=True, slots=True)
class WorthOfPretraining:
    """The best pretrained network and the best network from scratch, compared on the same folds of the search."""

    pretrained: Ranked  # highest pooled score on a backbone
    scratch: Ranked  # highest pooled score from scratch
    pretrained_judged: int  # configurations on a backbone that were judged on all folds
    scratch_judged: int  # configurations from scratch that were judged on all folds
    difference: float  # pooled score of `pretrained` less that of `scratch`
    se: float  # Nadeau-Bengio, of the difference on the same folds

    @property
    def is_clear(self) -> bool:
        """Whether the difference is larger than two standard errors, in either direction."""
        return abs(self.difference) > 2 * self.se


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearProbe:
    """The best logistic regression on a frozen backbone's features that the search judged on all folds."""

    ranked: Ranked
    judged: int  # number of them that were judged on all folds


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """Everything that the reports present."""

    study: StudyRecord
    chance: float  # the metric's value for the constant predictor
    ranking: tuple[Ranked, ...]  # best first
    recommended: Recommendation | None
    reason: str | None  # why nothing is recommended: "no healthy configuration", "no configuration judged"
    verdicts: Mapping[str, int]  # number of fits by verdict, all four verdicts
    collapse_reasons: Mapping[str, int]  # number of collapsed fits by reason, most frequent first
    causes: tuple[CauseTally, ...]  # likely causes of fits that collapsed or ended at chance, most frequent first
    symptoms: Mapping[str, int]  # number of fits by symptom, most frequent first
    control: Control | None  # only where no configuration is healthy
    audit: Audit
    epochs: EpochTally
    depth_map: tuple[MapCell, ...]
    depth_sentence: str  # what the map says, in one sentence
    kinds: tuple[NetworkKind, ...] = ()  # of networks, best first; none without backbones
    pretraining: WorthOfPretraining | None = None  # None unless networks of both families were judged on all folds
    linear_probe: LinearProbe | None = None  # None without such a trial
    finalists: tuple[Finalist, ...] = ()  # best first
    neighbourhood: Neighbourhood | None = None
    safe_ranges: Mapping[str, SafeRange] = field(default_factory=dict)
    importances: Importances | None = None
    on_images: OnImages | None = None
