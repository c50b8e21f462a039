"""Records of a diagnosis: the network, its behaviour before and during training, and the fixes that were tried."""

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
    units: int | None = None  # number of units or filters
    fan_in: int | None = None  # number of inputs of one unit
    initializer: str | None = None  # class name of the kernel's initializer; None without a kernel
    initializer_settings: Mapping[str, float | str] = field(default_factory=dict)
    l1: float = 0.0
    l2: float = 0.0
    rate: float | None = None  # dropout rate, 0..1
    momentum: float | None = None  # momentum of BatchNorm
    scale: float | None = None  # scale of a Rescaling layer
    offset: float | None = None  # offset of a Rescaling layer
    augmentation: Mapping[str, float | str] = field(default_factory=dict)  # settings of a random layer
    use_bias: bool = False
    trainable: bool = True
    parameters: int = 0  # number of weights
    shape: tuple[int | None, ...] = ()  # shape of the output, batch first
    inputs: tuple[str, ...] = ()  # names of the layers whose outputs it takes


@dataclass(frozen=True, kw_only=True, slots=True)
class Compilation:
    """Optimizer and loss that the network was compiled with."""

    optimizer: str  # class name
    learning_rate: float  # at the first step
    momentum: float = 0.0
    clipnorm: float | None = None
    clipvalue: float | None = None
    global_clipnorm: float | None = None
    weight_decay: float | None = None
    loss: str = ""  # canonical name, such as "sparse_categorical_crossentropy"; "custom" for a function of the user's
    from_logits: bool = False
    blind: bool = False  # a loss on logits that does not look behind a softmax, as Keras' losses do
    reduction: str = "sum_over_batch_size"


@dataclass(frozen=True, kw_only=True, slots=True)
class Anatomy:
    """Static description of a compiled network."""

    layers: tuple[LayerInfo, ...]  # in the order in which they are called
    compilation: Compilation
    output: str  # name of the output layer
    outputs: int  # number of units of the output layer
    trainable: int  # number of trainable weights
    parameters: int  # number of weights


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSample:
    """Description of the images and labels that the network gets, and the settings of training."""

    images: int  # number of images
    classes: Mapping[str, int]  # class name -> number of images
    labels: str  # "int", "onehot" or "binary"
    shape: tuple[int, int, int]  # height, width and channels of the network's input
    low: float  # smallest value of the network's input
    high: float  # largest value
    mean: float
    deviation: float  # standard deviation
    batch_size: int
    epochs: int
    class_weight: Mapping[int, float] | None = None
    preprocess: bool = False  # whether the user's file has PREPROCESS
    augment: bool = False  # whether the user's file has AUGMENT
    duplicates: int = 0  # number of images that have a copy with the same pixels
    conflicting: int = 0  # number of images whose copy has another label
    baseline: float = 0.0  # best balanced accuracy of nearest neighbour and logistic regression on small pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerStatistics:
    """Statistics of one layer's outputs, weights and gradient on a small batch."""

    name: str
    mean: float
    deviation: float  # standard deviation over images and units
    between_images: float  # standard deviation over images, mean over units; 0: the same outputs for every image
    dead: float  # share of units, 0..1, that are 0 for every image
    saturated: float = 0.0  # share of outputs, 0..1, at the flat ends of sigmoid or tanh
    weight: float | None = None  # root mean square of the kernel
    gradient: float | None = None  # norm of the kernel's gradient
    update: float | None = None  # |change| / |kernel| of one optimizer step


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkProbe:
    """Behaviour of the untrained network on a small batch, and whether it can learn that batch by heart."""

    loss: float  # the user's loss without regularization
    penalty: float  # regularization terms of the loss
    expected_loss: float  # cross-entropy in nats of a constant prediction of the class shares
    finite: bool  # whether outputs and loss are finite
    top_share: float  # share, 0..1, of the class predicted most often
    layers: tuple[LayerStatistics, ...]
    train_mode_loss: float | None = None  # loss with dropout, and BatchNorm by batch statistics
    overfits: bool | None = None  # whether it learns 16 images by heart; None: not tried, or impossible
    backbone_shift: float | None = None  # |mean of the first frozen BatchNorm's input - stored mean| / stored deviation
    backbone_spread: float | None = None  # deviation of that input / stored deviation
    batch_ratio: float | None = None  # loss of 32 images / loss of 16: 1 for an average, 2 for a sum
    low: float | None = None  # smallest input value of the first layer with a kernel
    high: float | None = None  # largest input value of that layer
    misaligned: float = 0.0  # share of images that come out of the user's pipeline with another image's label


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """Measurements after one epoch of the user's training; NaN if not measured."""

    loss: float  # as reported by Keras, with regularization
    data_loss: float  # the same without regularization
    val_loss: float  # cross-entropy in nats on held-out images
    train_score: float  # balanced accuracy on training images, in evaluation mode
    val_score: float  # balanced accuracy on held-out images
    auc: float  # area under the ROC curve on held-out images
    top_share: float  # share, 0..1, of the class predicted most often for held-out images
    first_gradient: float  # norm of the first trainable kernel's gradient
    last_gradient: float  # norm of the last trainable kernel's gradient
    dead: float  # largest share of dead units of a layer, 0..1
    dead_layer: str | None  # name of that layer
    weight: float  # norm of all kernels
    update: float  # largest |change| / |kernel| per step over the layers
    finite: bool  # whether loss and outputs are finite


@dataclass(frozen=True, kw_only=True, slots=True)
class DiagnosisFit:
    """One fit of the user's network, changed or not, with one seed."""

    seed: int
    epochs: tuple[Epoch, ...]
    learned: bool  # whether the score reached the threshold
    score: float  # final balanced accuracy on held-out images (on training images if there are too few)
    train_score: float  # final balanced accuracy on training images
    batch_statistics_score: float | None = None  # `score` with re-estimated BatchNorm statistics
    seconds: float = 0.0
    stopped: bool = False  # stopped before its last epoch because time ran out
    error: str | None = None  # error of a fit that failed, for instance because loss and labels don't match


class NetworkState(StrEnum):
    """Verdict on the network as the user trains it."""

    HEALTHY = "healthy"
    SLOW = "slow"  # learns, but late: more epochs would help
    COLLAPSED = "collapsed"
    NON_FINITE = "non-finite"
    MEMORISER = "memoriser"  # learns the training images, guesses on others
    THRESHOLD = "threshold"  # ranks well, but never says the rare class
    BATCHNORM = "batchnorm"  # good with batch statistics, bad with the moving ones
    UNTOLD = "untold"  # learns its images by heart; too few to tell whether it generalizes
    WEAK = "weak"  # above chance, but below what simple methods reach


@dataclass(frozen=True, kw_only=True, slots=True)
class Fix:
    """A change that was tried, with the scores before and after it."""

    code: str  # code of the suspected cause
    change: str  # lines of code to write
    summary: str  # the change in half a sentence
    size: int  # 1: a number or a line, 2: a layer here or there, 3: several things at once
    before: tuple[float, ...]  # balanced accuracy of the unchanged network with each seed
    after: tuple[float, ...]  # balanced accuracy of the changed network with each seed
    seeds: tuple[int, ...]
    confirmed: bool  # whether it makes the network learn


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """Result of a diagnosis."""

    model: str  # path of the network, as the user passed it
    folder: Path  # folder of the images
    material: DataSample
    anatomy: Anatomy
    probe: NetworkProbe
    runs: tuple[DiagnosisFit, ...]  # fits of the unchanged network
    state: NetworkState
    chance: float  # balanced accuracy of guessing
    threshold: float  # balanced accuracy from which a fit counts as having learned
    causes: tuple[Cause, ...]  # the likeliest first
    remarks: tuple[Cause, ...]  # further faults, which don't keep the network from learning
    fixes: tuple[Fix, ...]  # the recommended one first
    seconds: float
    cut_short: bool = False  # the budget ended before all likely causes were tried

    @property
    def healthy(self) -> bool:
        """Whether the network learns as it is, even if slowly."""
        return self.state in (NetworkState.HEALTHY, NetworkState.SLOW)
