"""Configurations as text, the same in the reports, the live display and the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from reports.wording import counted, headed, percent
from spaces.backbones import BACKBONES, MIDDLE, NO_BACKBONE
from spaces.config import PYRAMIDS, Configuration
from spaces.losses import LOSSES
from spaces.optimizers import OPTIMIZERS

CLASSIFIER_NAMES: Final = {
    "logistic": "logistic regression",
    "discriminant": "linear discriminant",
    "ridge": "ridge regression",
}
"""Classifiers that are solved exactly -> their names in sentences."""

_POOLED: Final = {
    "average": "means of the last feature map",
    "max": "maxima of the last feature map",
    MIDDLE: "means of the last and of the middle feature map",
}

_POOLINGS: Final = {
    MIDDLE: "global means of the last and of the middle feature map",
    "flatten": "flattening",
    **{name: f"pyramid max pooling, up to {name.removeprefix('pyramid_')} x {name[-1]} cells" for name in PYRAMIDS},
}

_LEARNS: Final[Mapping[str, str]] = {
    "frozen": "frozen",
    "last_block": "last block trained",
    "all": "all layers trained",
}

_STATISTICS: Final[Mapping[str, str]] = {
    "kept": "original statistics",
    "re_estimated": "statistics of the training images",
    "adapted": "statistics of each batch",
}


def layers(configuration: Configuration) -> str:
    """Return a network's layers in short: `3 conv + 1 dense`, `mobilenet_v2 (frozen) + 1 dense`.

    A classifier that is solved exactly stands in the place of layers: `efficientnet_lite0 (frozen) + ridge regression`.
    """
    c = configuration
    if c.is_closed_form:
        return f"{origin(c.backbone, c.trainable)} + {CLASSIFIER_NAMES[c.classifier]}"
    parts = [(c.n_conv, "conv"), (c.n_dense, "dense")]
    base = [] if c.backbone == NO_BACKBONE else [origin(c.backbone, c.trainable)]
    return " + ".join([*base, *(f"{n} {kind}" for n, kind in parts if n)])


def origin(backbone: str, trainable: str) -> str:
    """Return where the first layers of a network come from: `from scratch`, `mobilenet_v2 (frozen)`."""
    return "from scratch" if backbone == NO_BACKBONE else f"{backbone} ({trainable.replace('_', ' ')})"


def short(configuration: Configuration) -> str:
    """Return a configuration as one short line."""
    if configuration.is_closed_form:
        return f"{layers(configuration)}, {short_features(configuration)}"
    size = f"{configuration.resolution} pixels, " if "resolution" in configuration.canonical() else ""
    return (
        f"{layers(configuration)}, {size}{configuration.initializer}, {configuration.optimizer} "
        f"{configuration.learning_rate:.1e}, batch {configuration.batch_size}, dropout {configuration.dropout:.2g}"
    )


def short_features(configuration: Configuration) -> str:
    """Return the features of a backbone in short: `224 pixels, with the middle features`."""
    c = configuration
    size = f"{c.resolution} pixels" if c.resolution else "the study's image size"
    return size + (", with the middle features" if c.head == MIDDLE else "")


def sentence(configuration: Configuration) -> str:
    """Return a configuration as two or three sentences."""
    c = configuration
    if c.is_closed_form:
        weighting = "" if c.class_weighting == "none" else f" Class weights: {_plain(c.class_weighting)}."
        return (
            f"{headed(CLASSIFIER_NAMES[c.classifier])} on the features of {_backbone(c)}: {_POOLED[c.head]}. It is "
            "solved exactly, without epochs; the strength of its regularization is chosen on the training images."
            f"{weighting}"
        )
    decay = (
        f", weight decay {c.weight_decay:.2g}" if OPTIMIZERS[c.optimizer].takes_weight_decay and c.weight_decay else ""
    )
    return (
        f"{_network(c)}. Trained with {c.optimizer}, peak learning rate {c.learning_rate:.2g}{decay}, batch size "
        f"{c.batch_size}. {_balancing(c)}{_augmentation(c)}"
    )


def _network(c: Configuration) -> str:
    """Layers and what else builds the network; on a backbone without dense layers only what its output layer has."""
    base = (
        f"{counted(c.n_conv, 'convolutional layer')} ({c.kernel_size} x {c.kernel_size} kernels), {c.width} filters in "
        "the first"
        if c.n_conv
        else _backbone(c)
    )
    dense = f"{counted(c.n_dense, 'dense layer')} of {c.dense_units} units" if c.n_dense else ""
    norm = "no normalization" if c.normalization == "none" else f"{c.normalization} normalization"
    inside = [c.activation, c.initializer, norm] if c.n_conv + c.n_dense else [c.initializer]
    pooling = f", followed by {_POOLINGS.get(c.head, f'global {c.head} pooling')}" if base else ""
    if c.backbone != NO_BACKBONE:
        structure = f"{base}{pooling} and {dense or 'the output layer'}"
    else:
        structure = f"{' and '.join(filter(None, [base, dense]))}{pooling}"
    return f"{structure}; {', '.join([*inside, f'dropout {c.dropout:.2g}'])}"


def _backbone(c: Configuration) -> str:
    if c.backbone == NO_BACKBONE:
        return ""
    normalized = f", {_STATISTICS[c.statistics]}" if BACKBONES[c.backbone].batchnorm else ""
    rate = f" at {percent(c.backbone_rate)} of the learning rate" if c.trainable != "frozen" else ""
    size = f" for images of {c.resolution} x {c.resolution} pixels" if c.resolution else ""
    return f"{c.backbone}, pretrained ({_LEARNS[c.trainable]}{rate}{normalized}){size}"


def _balancing(c: Configuration) -> str:
    weighting = "no class weights" if c.class_weighting == "none" else f"class weights: {_plain(c.class_weighting)}"
    sampling = "no oversampling" if c.oversampling == "none" else f"oversampling: {_plain(c.oversampling)}"
    loss = LOSSES[c.loss]
    corrections = "" if loss.is_logit_adjusted else f"{weighting[0].upper()}{weighting[1:]}; {sampling}."
    return " ".join(filter(None, [corrections, loss.sentence]))


def _plain(choice: str) -> str:
    return {"sqrt": "square root", "effective_number": "effective number"}.get(choice, choice)


def _augmentation(c: Configuration) -> str:
    flips = [name for name, on in (("horizontal flips", c.horizontal_flip), ("vertical flips", c.vertical_flip)) if on]
    amounts = [
        f"{name} up to {percent(value)}" for name, value in (("shifts", c.shift), ("zoom", c.zoom)) if round(value, 3)
    ]
    angles = [
        f"{name} up to {value:.2g} degrees" for name, value in (("rotation", c.rotation), ("shear", c.shear)) if value
    ]
    parts = [*flips, *amounts, *angles]
    return f" Augmentation: {', '.join(parts)}." if parts else " No augmentation."
