"""Records of a diagnosis: the network, its behaviour before and during training, the fixes tried. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from search.causes import Cause


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerInfo:
    """One layer as it was built; nested models are flattened, and `path` names the models around the layer."""

    name: str
    kind: str  # Keras class name
    path: tuple[str, ...] = ()  # names of the models around it, outermost first
    activation: str | None = None  # "linear" where a layer could have one and has none; None where it can't
    units: int | None = None  # or filters
    fan_in: int | None = None  # inputs to one unit
    initializer: str | None = None  # class name of the kernel's
    initializer_settings: Mapping[str, float | str] = field(default_factory=dict)
    l1: float = 0.0
    l2: float = 0.0
    rate: float | None = None  # of dropout
    momentum: float | None = None  # of BatchNorm
    scale: float | None = None  # of Rescaling
    offset: float | None = None
    augmentation: Mapping[str, float | str] = field(default_factory=dict)  # settings of a random layer
    use_bias: bool = False
    trainable: bool = True
    parameters: int = 0
    shape: tuple[int | None, ...] = ()  # of its output, batch first
    inputs: tuple[str, ...] = ()  # names of the layers that feed it


@dataclass(frozen=True, kw_only=True, slots=True)
class Compilation:
    """Optimizer and loss that the network was compiled with."""

    optimizer: str  # class name
    learning_rate: float  # at the start
    momentum: float = 0.0
    clipnorm: float | None = None
    clipvalue: float | None = None
    global_clipnorm: float | None = None
    weight_decay: float | None = None
    loss: str = ""  # canonical name, such as "sparse_categorical_crossentropy"; "custom" for a function of the user's
    from_logits: bool = False
    blind: bool = False  # a loss on logits that takes what it is given, even behind a softmax
    reduction: str = "sum_over_batch_size"


@dataclass(frozen=True, kw_only=True, slots=True)
class Anatomy:
    """Static description of a compiled network."""

    layers: tuple[LayerInfo, ...]  # in the order in which they are called
    compilation: Compilation
    output: str  # name of the layer that gives the predictions
    outputs: int  # units of it
    trainable: int  # weights that can change
    parameters: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSample:
    """Images and labels as the network gets them, and the settings of training."""

    images: int
    classes: Mapping[str, int]  # images by class
    labels: str  # "int", "onehot" or "binary"
    shape: tuple[int, int, int]  # of an image as the network gets it
    low: float  # smallest and largest value, mean and deviation of what is fed
    high: float
    mean: float
    deviation: float
    batch_size: int
    epochs: int
    class_weight: Mapping[int, float] | None = None
    preprocess: bool = False  # the user's own
    augment: bool = False
    duplicates: int = 0  # images that lie in two places with the same content
    conflicting: int = 0  # of these, under different labels
    baseline: float = 0.0  # best balanced accuracy of nearest neighbour and logistic regression on small pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerStatistics:
    """Statistics of one layer's outputs, weights and gradient on a small batch."""

    name: str
    mean: float
    deviation: float  # over images and units
    between_images: float  # deviation over images, averaged over units: 0 is the same answer for every image
    dead: float  # share of units that give 0 for every image
    saturated: float = 0.0  # share of outputs at the flat ends of sigmoid or tanh
    weight: float | None = None  # root mean square of its kernel
    gradient: float | None = None  # norm of its kernel's gradient
    update: float | None = None  # |change| / |kernel| of one optimizer step


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkProbe:
    """Behaviour of the untrained network on a small batch, and whether it can learn that batch by heart."""

    loss: float  # data term of the user's loss
    penalty: float  # regularization terms
    expected_loss: float  # of a predictor that says the class shares
    finite: bool
    top_share: float  # of the predictions
    layers: tuple[LayerStatistics, ...]
    train_mode_loss: float | None = None  # dropout on, BatchNorm by the batch
    overfits: bool | None = None  # 16 images by heart, regularization as the user has it
    backbone_shift: float | None = None  # |mean of the first frozen BatchNorm's input - stored mean| / stored deviation
    backbone_spread: float | None = None  # deviation of that input / stored deviation
    batch_ratio: float | None = None  # loss of 32 images / loss of 16: 1 for an average, 2 for a sum
    low: float | None = None  # smallest and largest value that reaches the first kernel
    high: float | None = None
    misaligned: float = 0.0  # share of images that come out of the user's pipeline with another image's label


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """Measurements after one epoch of the user's training. NaN where unknown."""

    loss: float  # as Keras reports it, penalty included
    data_loss: float
    val_loss: float
    train_score: float  # balanced accuracy in evaluation mode
    val_score: float  # balanced accuracy
    auc: float  # of the held-out predictions
    top_share: float
    first_gradient: float
    last_gradient: float
    dead: float  # worst hidden layer's
    dead_layer: str | None
    weight: float  # norm of all kernels
    update: float  # largest |change| / |kernel| per step over the layers
    finite: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class DiagnosisFit:
    """One fit of the user's network, changed or not, with one seed."""

    seed: int
    epochs: tuple[Epoch, ...]
    learned: bool
    score: float  # balanced accuracy at the end, on held-out images (on the training images where those are too few)
    train_score: float
    batch_statistics_score: float | None = None  # the same with BatchNorm by the batch
    seconds: float = 0.0
    stopped: bool = False  # before its last epoch, for want of time
    error: str | None = None  # the fit itself failed, as loss and labels do not fit together, for instance


class NetworkState(StrEnum):
    """Verdict on the network as the user trains it."""

    HEALTHY = "healthy"
    SLOW = "slow"  # learns, but late: more epochs would help
    COLLAPSED = "collapsed"
    NON_FINITE = "non-finite"
    MEMORISER = "memoriser"  # learns the training images, guesses on others
    THRESHOLD = "threshold"  # ranks well, but never says the rare class
    BATCHNORM = "batchnorm"  # fine with the batch's statistics, lost with the moving ones
    UNTOLD = "untold"  # learns its images by heart; too few to tell whether it learned more
    WEAK = "weak"  # above chance, but below what simple methods reach


@dataclass(frozen=True, kw_only=True, slots=True)
class Fix:
    """One change, tried by real fits."""

    code: str  # of the cause that it would fix
    change: str  # the lines of code to write, as text
    summary: str  # the change in half a sentence
    size: int  # how large it is: 1 a number or a line, 2 a layer here or there, 3 several things at once
    before: tuple[float, ...]  # score with each seed, unchanged
    after: tuple[float, ...]
    seeds: tuple[int, ...]
    confirmed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """Result of a diagnosis."""

    model: str  # as given
    folder: Path
    material: DataSample
    anatomy: Anatomy
    probe: NetworkProbe
    runs: tuple[DiagnosisFit, ...]
    state: NetworkState
    chance: float
    threshold: float  # balanced accuracy from which a fit counts as having learned
    causes: tuple[Cause, ...]  # first-named first
    remarks: tuple[Cause, ...]  # true, but not what keeps the network from learning
    fixes: tuple[Fix, ...]  # the recommended one first
    seconds: float
    cut_short: bool = False  # the budget ended before all likely causes were tried

    @property
    def healthy(self) -> bool:
        """Whether the network learns as it is, even if slowly."""
        return self.state in (NetworkState.HEALTHY, NetworkState.SLOW)
