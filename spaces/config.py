"""Configurations: points of the search space.

Two configurations that build and train the same network have equal `canonical()` forms and equal hashes, however they
were sampled: inactive hyperparameters are dropped, and depth and dense ratio are replaced by numbers of layers.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final

from spaces.backbones import BACKBONES, MIDDLE, NO_BACKBONE, POOLED, STATISTICS, TRAINABLE, embeds
from spaces.losses import LOSSES
from spaces.optimizers import OPTIMIZERS

Value = bool | int | float | str

INITIALIZERS: Final = (
    "glorot_uniform",
    "glorot_normal",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "orthogonal",
    "random_uniform",
    "random_normal",
)
CLASS_WEIGHTINGS: Final = ("none", "sqrt", "balanced", "effective_number")
OVERSAMPLINGS: Final = ("none", "sqrt", "balanced")
NORMALIZATIONS: Final = ("none", "batch", "group")
ACTIVATIONS: Final = ("relu", "leaky_relu", "elu", "gelu", "tanh")
INPUT_SCALINGS: Final = ("unit", "symmetric", "standardized")

PYRAMIDS: Final = {"pyramid_2": 1 + 4, "pyramid_4": 1 + 4 + 16, "pyramid_8": 1 + 4 + 16 + 64}
"""Heads with spatial pyramid pooling -> number of image regions over which the maximum is taken."""
HEADS: Final = ("flatten", "average", "max", *PYRAMIDS)
"""Heads of a network from scratch."""

SCRATCH: Final = "scratch"
PRETRAINED: Final = "pretrained"
FAMILIES: Final = (SCRATCH, PRETRAINED)

LAYERS: Final = "layers"
CLASSIFIERS: Final = (LAYERS, "logistic", "discriminant", "ridge")
"""What classifies a backbone's features: dense layers that are trained by gradient steps, or a head that is solved
exactly and chooses the strength of its regularization by itself."""

CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "initializer": INITIALIZERS,
    "class_weighting": CLASS_WEIGHTINGS,
    "oversampling": OVERSAMPLINGS,
    "loss": tuple(LOSSES),
    "optimizer": tuple(OPTIMIZERS),
    "normalization": NORMALIZATIONS,
    "head": tuple(dict.fromkeys((*HEADS, *POOLED))),
    "activation": ACTIVATIONS,
    "input_scaling": INPUT_SCALINGS,
    "backbone": (NO_BACKBONE, *BACKBONES),
    "trainable": TRAINABLE,
    "statistics": STATISTICS,
    "classifier": CLASSIFIERS,
}
"""Allowed values of the categorical fields."""

BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "depth": (1, 12),
    "dense_ratio": (0.0, 1.0),
    "dropout": (0.0, 0.9),
    "batch_size": (1, 4096),
    "learning_rate": (1e-8, 10.0),
    "weight_decay": (0.0, 1.0),
    "width": (1, 512),
    "dense_units": (1, 4096),
    "kernel_size": (1, 11),
    "label_smoothing": (0.0, 0.5),
    "shift": (0.0, 0.5),
    "zoom": (0.0, 0.5),
    "shear": (0.0, 45.0),
    "rotation": (0.0, 180.0),
    "backbone_rate": (0.0, 1.0),
    "resolution": (0, 1024),
}
"""Lowest and highest allowed value of each numeric field; both are included. A space may search any part of it."""

BY_RATIO: Final = frozenset({"learning_rate", "weight_decay", "width", "dense_units", "batch_size", "backbone_rate"})
"""Numeric fields on a ratio scale: multiplying by a factor is the same change everywhere."""

MIN_BATCH_FOR_BATCHNORM: Final = 4
MOST_DENSE_ON_BACKBONE: Final = 2
"""Largest number of dense layers on a backbone, whose features need little more to separate the classes."""


class ConfigurationError(ValueError):
    """Error for a field whose value is not allowed, or for two fields that contradict each other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """A value of every hyperparameter. Values are checked, and brought to their field's type, on construction.

    Raises:
        ConfigurationError: a value is out of bounds, unknown or of the wrong type, or two values contradict each other.
    """

    depth: int  # weight layers before the output layer
    dense_ratio: float  # share of them that is dense
    initializer: str  # of every kernel
    dropout: float  # share of units dropped after each dense layer; before the output layer if there is none
    class_weighting: str  # weights of the loss, on the distribution left after oversampling
    oversampling: str  # how far rare classes are drawn more often, anew in each epoch
    batch_size: int  # images
    learning_rate: float  # peak, per step
    loss: str = "cross_entropy"  # one of `spaces.losses.LOSSES`
    optimizer: str = "adam"
    weight_decay: float = 0.0  # decoupled, per step and unit of learning rate; some optimizers take none
    width: int = 16  # filters of the first convolution; doubled after each pooling, up to 8 times as many
    dense_units: int = 64
    normalization: str = "none"  # after each weight layer, before the activation
    head: str = "flatten"  # from the last feature map to a vector; pyramid_4: maxima of 1 x 1, 2 x 2 and 4 x 4 parts
    activation: str = "relu"
    kernel_size: int = 3  # pixels
    input_scaling: str = "unit"  # of 0..255: to 0..1, to -1..1, or by the training images' mean and deviation
    label_smoothing: float = 0.0
    horizontal_flip: bool = False
    vertical_flip: bool = False
    shift: float = 0.0  # up to this share of the side, each axis
    zoom: float = 0.0  # scale between 1 - zoom and 1 + zoom
    shear: float = 0.0  # up to this many degrees
    rotation: float = 0.0  # up to this many degrees
    backbone: str = NO_BACKBONE  # pretrained network in place of the convolutions
    trainable: str = "frozen"  # how much of the backbone learns too
    statistics: str = (
        "kept"  # of its batch normalization: those of its pretraining, of the training images, or of each batch
    )
    backbone_rate: float = 0.1  # its learning rate divided by that of the layers on it; 0 in the first quarter of a fit
    resolution: int = (
        0  # side in pixels of the images that a backbone gets; 0: the study's images, as networks get them
    )
    classifier: str = LAYERS  # what classifies the features of a frozen backbone; others have layers

    def __post_init__(self) -> None:
        for name in FIELDS:
            object.__setattr__(self, name, checked(name, getattr(self, name)))
        if self.normalization == "batch" and self.batch_size < MIN_BATCH_FOR_BATCHNORM:
            raise ConfigurationError(
                f"normalization 'batch' needs batch_size >= {MIN_BATCH_FOR_BATCHNORM}, got {self.batch_size}."
            )
        if self.backbone != NO_BACKBONE:
            self._check_backbone()
        elif self.head not in HEADS:
            raise ConfigurationError(f"head {self.head!r} needs a backbone. Change head to one of {', '.join(HEADS)}.")
        elif self.head == "flatten" and self.n_dense == 0:
            raise ConfigurationError(
                "a network without dense layers needs a head that pools, such as 'average', got 'flatten'. "
                "Change head, or raise dense_ratio."
            )

    def _check_backbone(self) -> None:
        if self.head not in POOLED:
            raise ConfigurationError(
                f"head must be one of {', '.join(POOLED)} on a backbone, got {self.head!r}. Change head, or set "
                f"backbone to {NO_BACKBONE!r}."
            )
        if self.statistics == "adapted" and self.batch_size < MIN_BATCH_FOR_BATCHNORM:
            raise ConfigurationError(
                f"statistics 'adapted' needs batch_size >= {MIN_BATCH_FOR_BATCHNORM}, got {self.batch_size}."
            )
        if self.head == MIDDLE and BACKBONES[self.backbone].middle is None:
            raise ConfigurationError(f"head {MIDDLE!r} is not known for {self.backbone}. Change head to 'average'.")

    @property
    def family(self) -> str:
        """Family of the network, one of `FAMILIES`: on a pretrained backbone, or trained from scratch."""
        return SCRATCH if self.backbone == NO_BACKBONE else PRETRAINED

    @property
    def is_closed_form(self) -> bool:
        """Whether the network is a frozen backbone with a classifier that is solved exactly, without epochs."""
        return self.embeds and self.classifier != LAYERS

    @property
    def n_dense(self) -> int:
        """Number of dense layers before the output: round(depth x ratio), half to even; on a backbone at most two."""
        if self.is_closed_form:
            return 0
        wanted = round(self.depth * self.dense_ratio)
        return wanted if self.backbone == NO_BACKBONE else min(wanted, MOST_DENSE_ON_BACKBONE)

    @property
    def n_conv(self) -> int:
        """Number of convolutions: depth less the dense layers; 0 on a backbone."""
        return self.depth - self.n_dense if self.backbone == NO_BACKBONE else 0

    @property
    def features(self) -> int:
        """Length of the vector that a backbone and the pooling behind it make of an image; 0 without a backbone."""
        return 0 if self.backbone == NO_BACKBONE else BACKBONES[self.backbone].pooled(self.head)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the weight layers, in order: `conv 1`, `conv 2`, ..., `dense 1`, ..., `output`."""
        conv = (f"conv {place + 1}" for place in range(self.n_conv))
        return (*conv, *(f"dense {place + 1}" for place in range(self.n_dense)), "output")

    @property
    def normalized(self) -> bool:
        """Whether any layer of the network is normalized by the statistics of its training batches."""
        layers = self.normalization == "batch" and self.n_conv + self.n_dense > 0
        return layers or (self._has_statistics and self.statistics == "adapted")

    @property
    def embeds(self) -> bool:
        """Whether a backbone gives the same features for an image in each epoch, so that it need run only once."""
        return embeds(self.backbone, self.trainable, self.statistics)

    @property
    def _has_statistics(self) -> bool:
        return self.backbone != NO_BACKBONE and BACKBONES[self.backbone].batchnorm

    def as_dict(self) -> dict[str, Value]:
        """Return every field with its value as sampled, in the order of the class."""
        return {name: getattr(self, name) for name in FIELDS}  # plain values: nothing to copy as `asdict` would

    def canonical(self) -> dict[str, Value]:
        """Return the canonical form: active fields, with `n_conv` and `n_dense` in place of depth and dense ratio."""
        if self.is_closed_form:
            return {"n_conv": 0, "n_dense": 0, **{name: getattr(self, name) for name in self._solved}}
        values = self.as_dict()
        del values["depth"], values["dense_ratio"]
        if self.n_conv == 0:
            for name in ("width", "kernel_size"):
                del values[name]
        if self.n_dense == 0:
            del values["dense_units"]
        if self.backbone == NO_BACKBONE:
            for name in ("trainable", "statistics", "backbone_rate", "resolution", "classifier"):
                del values[name]
            if self.n_conv == 0:
                del values["head"]
        else:
            self._drop_inactive_on_backbone(values)
        if not OPTIMIZERS[self.optimizer].takes_weight_decay:
            del values["weight_decay"]
        loss = LOSSES[self.loss]
        if loss.is_logit_adjusted:
            del values["class_weighting"], values["oversampling"]
        elif self.oversampling == "balanced":  # weights have nothing left to correct
            del values["class_weighting"]
        if not loss.takes_label_smoothing:
            del values["label_smoothing"]
        return {"n_conv": self.n_conv, "n_dense": self.n_dense, **values}

    def _drop_inactive_on_backbone(self, values: dict[str, Value]) -> None:
        del values["input_scaling"]  # each is fed as its makers feed it
        if self.n_dense == 0:
            del values["normalization"], values["activation"]
        if not self._has_statistics:
            del values["statistics"]
        if not self.resolution:
            del values["resolution"]
        del values["classifier"]
        if self.trainable == "frozen":
            del values["backbone_rate"]
        if self.embeds:  # flips have embeddings of their own; of what is drawn anew each time there are none
            for name in ("shift", "zoom", "shear", "rotation"):
                del values[name]

    @property
    def _solved(self) -> tuple[str, ...]:
        """Fields that a head that is solved exactly depends on."""
        statistics = ("statistics",) if self._has_statistics else ()
        resolution = ("resolution",) if self.resolution else ()
        return ("class_weighting", "head", "backbone", "trainable", *statistics, *resolution, "classifier")

    @property
    def active(self) -> tuple[str, ...]:
        """Names of the fields that affect the network or its training, in the order of the class."""
        later = {"resolution"} if self.backbone != NO_BACKBONE else set()  # left out of hashes where they are as ever
        if self.embeds:
            later.add("classifier")
        if self.is_closed_form:
            return tuple(name for name in FIELDS if name in {*self._solved, *later})
        meaningful = {"depth", "dense_ratio", *self.canonical(), *later}
        return tuple(name for name in FIELDS if name in meaningful)

    @property
    def hash(self) -> str:
        """Hash of the canonical form, twelve hexadecimal digits."""
        return _hash(self)


FIELDS: Final[dict[str, str]] = {field.name: str(field.type) for field in fields(Configuration)}
"""Name of every field -> its type: "int", "float", "str" or "bool"."""


@lru_cache(maxsize=4096)  # a study has few configurations, and needs their hashes again and again
def _hash(configuration: Configuration) -> str:
    text = json.dumps(configuration.canonical(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def checked(name: str, value: Any) -> Value:
    """Return the value of a field, checked and converted to the field's type (3.0 to 3 for an int field).

    Args:
        name: a key of `FIELDS`.
        value: the value to check.

    Raises:
        ConfigurationError: the value is out of bounds, unknown or of the wrong type. The message begins with `name`.
    """
    kind = FIELDS[name]
    if name in CHOICES:
        if not isinstance(value, str) or value not in CHOICES[name]:
            raise ConfigurationError(f"{name} must be one of {', '.join(CHOICES[name])}, got {value!r}.")
        return str(value)
    if kind == "bool":
        if not isinstance(value, bool):
            raise ConfigurationError(f"{name} must be true or false, got {value!r}.")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"{name} must be a number, got {value!r}.")
    low, high = BOUNDS[name]
    if not low <= value <= high:
        raise ConfigurationError(f"{name} must lie between {low:g} and {high:g}, got {value!r}.")
    if kind == "int" and value != int(value):
        raise ConfigurationError(f"{name} must be a whole number, got {value!r}.")
    return int(value) if kind == "int" else float(value) + 0.0  # -0.0 is 0.0: equal values, equal hashes
