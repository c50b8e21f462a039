"""Search space: one definition for each hyperparameter, and the conditions between them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, Final

from spaces.backbones import BACKBONES, MIDDLE, NO_BACKBONE, POOLED
from spaces.config import FAMILIES, FIELDS, HEADS, LAYERS, MIN_BATCH_FOR_BATCHNORM, SCRATCH, Configuration, Value
from spaces.definitions import (
    Choices,
    Definition,
    Fixed,
    Range,
    SpaceError,
    as_dict,
    batches_from,
    first,
    normal,
)
from spaces.losses import ADJUSTED, LOSSES
from spaces.optimizers import OPTIMIZERS
from spaces.suggest import SAME_FIELD, ConfigurationTrial, Suggest, suggest

MIN_UPDATES: Final = 60
"""Smallest number of optimizer steps of a fit: with fewer, even a good network has hardly learned."""

DEFAULTS: Final[dict[str, Value]] = {
    field.name: field.default for field in fields(Configuration) if field.default is not MISSING
}
"""Default value of each field that has one; inactive fields hold it."""


@dataclass(frozen=True, slots=True)
class Space:
    """A set of configurations, and how to draw from it.

    Definitions are brought to one form: choices in a fixed order, a single choice as `Fixed`; where batch normalization
    is the only normalization, batch sizes too small for it are dropped; where classes are always weighted or drawn
    by their shares, the loss that would do so in their place is dropped (an error, if it is the only one); where no
    backbone may be frozen as it is, classifiers that are solved on its features are dropped. Spaces that search the
    same are equal but for their name, and have equal hashes.

    Raises:
        SpaceError: a field is missing or unknown, or a definition is impossible. The message begins with the field.
    """

    name: str
    definitions: Mapping[str, Definition]  # one for each field of Configuration

    def __post_init__(self) -> None:
        if wrong := set(FIELDS) ^ set(self.definitions):
            raise SpaceError(f"{', '.join(sorted(wrong))}: missing or unknown. A space must define each field.")
        definitions = {name: normal(name, self.definitions[name]) for name in FIELDS}
        if definitions["normalization"] == Fixed("batch"):
            definitions["batch_size"] = batches_from(MIN_BATCH_FOR_BATCHNORM, definitions["batch_size"])
        correcting = [name for name in ("class_weighting", "oversampling") if "none" not in definitions[name]]
        if correcting:
            losses, other = _offered(definitions["loss"]), correcting[0]
            if set(losses) <= set(ADJUSTED):
                raise SpaceError(
                    f"loss: {losses[0]!r} corrects for rare classes, and so does {other} without 'none': only one may. "
                    f"Allow another loss, or 'none' for {other}."
                )
            definitions["loss"] = _without(definitions["loss"], ADJUSTED, "cross_entropy")
        if isinstance(definitions["resolution"], Range):  # each side is a file of its own
            raise SpaceError("resolution: expected a value or choices, got a range. List the sides in pixels.")
        for name, needed in (("trainable", "frozen"), ("statistics", "kept")):
            if needed not in definitions[name] and definitions["classifier"] != Fixed(LAYERS):
                if LAYERS not in definitions["classifier"]:
                    raise SpaceError(
                        f"classifier: {first(definitions['classifier'])!r} is solved on features that rest: allow "
                        f"{needed!r} for {name}, or {LAYERS!r} for classifier."
                    )
                definitions["classifier"] = Fixed(LAYERS)
        object.__setattr__(self, "definitions", definitions)

    def sample(self, trial: Suggest) -> Configuration:
        """Draw a configuration from the space; only active hyperparameters are asked of the trial.

        Inactive fields hold the default of `Configuration`. The head of a network without dense layers is never
        'flatten', but one of the space's other heads, or 'average' if there is none.

        Args:
            trial: an Optuna trial, or an object with the same `suggest_` methods.
        """
        backbone = self._backbone_of_family(trial)
        if backbone is not None and (solved := self._closed_form(trial, backbone)) is not None:
            return solved
        chosen = {name: self._suggest(trial, name) for name in _ALWAYS}
        chosen["backbone"] = self._suggest(trial, "backbone") if backbone is None else backbone
        has_backbone = chosen["backbone"] != NO_BACKBONE
        n_dense = round(chosen["depth"] * chosen["dense_ratio"])
        n_conv = 0 if has_backbone else chosen["depth"] - n_dense
        small = chosen["batch_size"] < MIN_BATCH_FOR_BATCHNORM
        values = {**DEFAULTS, "class_weighting": "none", "oversampling": "none", **chosen}
        loss = LOSSES[chosen["loss"]]
        if not loss.is_logit_adjusted:
            values["oversampling"] = self._suggest(trial, "oversampling")
            if values["oversampling"] != "balanced":
                values["class_weighting"] = self._suggest(trial, "class_weighting")
        if loss.takes_label_smoothing:
            values["label_smoothing"] = self._suggest(trial, "label_smoothing")
        if OPTIMIZERS[chosen["optimizer"]].takes_weight_decay:
            values["weight_decay"] = self._suggest(trial, "weight_decay")
        if n_dense:
            values["dense_units"] = self._suggest(trial, "dense_units")
        if n_conv:
            values["width"] = self._suggest(trial, "width")
            values["kernel_size"] = self._suggest(trial, "kernel_size")
            if n_dense:
                values["head"] = self._suggest_without(trial, "head", (MIDDLE,), "average")
            else:
                values["head"] = self._suggest_without(trial, "pooling", ("flatten", MIDDLE), "average")
        if n_conv or n_dense or not has_backbone:
            values["activation"] = self._suggest(trial, "activation")
            if small:
                values["normalization"] = self._suggest_without(trial, "normalization_small_batch", ("batch",), "none")
            else:
                values["normalization"] = self._suggest(trial, "normalization")
        if has_backbone:
            values |= self._on_backbone(trial, chosen["backbone"], small=small)
        else:
            values["input_scaling"] = self._suggest(trial, "input_scaling")
        without_warps = Configuration(**values)
        return replace(
            without_warps, **{} if without_warps.embeds else {name: self._suggest(trial, name) for name in _WARPS}
        )

    @property
    def has_families(self) -> bool:
        """Whether networks from scratch and on backbones share the search, each with a part of its own."""
        has_both = NO_BACKBONE in self.definitions["backbone"] and bool(self.backbones)
        return has_both and self.definitions["classifier"] != Fixed(LAYERS)

    def _backbone_of_family(self, trial: Suggest) -> Any:
        """The backbone where it is chosen before anything else; None where the trial chooses it later."""
        if self.definitions["classifier"] == Fixed(LAYERS):
            return None
        if not self.has_families:
            return self._suggest(trial, "backbone")
        if trial.suggest_categorical(FAMILY, FAMILIES) == SCRATCH:
            return NO_BACKBONE
        return self._suggest_without(trial, "pretrained_backbone", (NO_BACKBONE,), NO_BACKBONE)

    def _closed_form(self, trial: Suggest, backbone: str) -> Configuration | None:
        """A configuration whose classifier is solved exactly; None if the trial is to draw one with layers."""
        classifier = LAYERS if backbone == NO_BACKBONE else self._suggest(trial, "classifier")
        if classifier == LAYERS:
            return None
        return Configuration(
            **{
                **DEFAULTS,
                **{name: first(self.definitions[name]) for name in _UNUSED},
                "class_weighting": self._suggest(trial, "class_weighting"),
                "oversampling": "none",
                "backbone": backbone,
                "classifier": classifier,
                "head": self._pooling(trial, backbone),
                "resolution": self._suggest(trial, "resolution"),
            }
        )

    def _pooling(self, trial: Suggest, backbone: str) -> Any:
        """How a backbone's feature maps are pooled."""
        unpooled = tuple(head for head in HEADS if head not in POOLED)
        if BACKBONES[backbone].middle is None:
            return self._suggest_without(trial, "backbone_pooling_last", (*unpooled, MIDDLE), "average")
        return self._suggest_without(trial, "backbone_pooling", unpooled, "average")

    def _on_backbone(self, trial: Suggest, backbone: str, *, small: bool) -> dict[str, Any]:
        values = {
            "head": self._pooling(trial, backbone),
            "resolution": self._suggest(trial, "resolution"),
            "trainable": self._suggest(trial, "trainable"),
        }
        if BACKBONES[backbone].batchnorm:
            if small:
                values["statistics"] = self._suggest_without(trial, "statistics_small_batch", ("adapted",), "kept")
            else:
                values["statistics"] = self._suggest(trial, "statistics")
        if values["trainable"] != "frozen":
            values["backbone_rate"] = self._suggest(trial, "backbone_rate")
        return values

    def parameters(self, configuration: Configuration) -> dict[str, Value]:
        """Return the Optuna parameters that give this configuration, as `study.enqueue_trial` takes them.

        Raises:
            SpaceError: the configuration lies outside the space. The message begins with the field.
        """
        answers = ConfigurationTrial(configuration)
        drawn = self.sample(answers)
        for name, value in drawn.canonical().items():
            wanted = configuration.canonical().get(name)
            if value != wanted:
                raise SpaceError(f"{name}: expected {value!r}, the only value in the space, got {wanted!r}.")
        return answers.parameters

    def __contains__(self, configuration: object) -> bool:
        if not isinstance(configuration, Configuration):
            return False
        try:
            self.parameters(configuration)
        except SpaceError:
            return False
        return True

    def nearest(self, configuration: Configuration) -> Configuration | None:
        """Return the configuration with the values that the space fixes and with the closest batch size in the space.

        None if another field lies outside the space.
        """
        try:
            return self.sample(ConfigurationTrial(configuration, bend=("batch_size",)))
        except SpaceError:
            return None

    def bound_to(self, images: int, epochs: int) -> Space:
        """Return the space without batch sizes that are too large for the training images and epochs.

        A batch size is too large if a fit would have fewer than `MIN_UPDATES` updates (full batches only). The smallest
        size stays even so, unless it is larger than the number of images.

        Args:
            images: number of training images of the smallest fold.
            epochs: number of epochs of a fit.

        Raises:
            SpaceError: the only batch size is too large, or all are larger than the number of images.
        """
        most = images // math.ceil(MIN_UPDATES / epochs)  # images // batch >= m  <=>  batch <= images // m
        batch = self.definitions["batch_size"]
        low = _lowest(batch)
        if low > images:
            raise SpaceError(f"batch_size: {low:g} is more than the {images} training images. Allow at most {images}.")
        if isinstance(batch, Fixed) and low > most:
            raise SpaceError(
                f"batch_size: {low:g} leaves {epochs * (images // int(low))} updates a fit ({images} training images, "
                f"{epochs} epochs); at least {MIN_UPDATES} are needed. Allow {max(most, 1)}, or give more epochs."
            )
        bounded: Definition
        match batch:
            case Range():
                step = batch.step or 1
                steps = max(0, (min(batch.high, most) - low) // step)
                bounded = Range(low, low + steps * step, batch.log, batch.step)
            case Choices():
                bounded = Choices(tuple(v for v in batch.values if v == low or float(v) <= most))
            case Fixed():
                bounded = batch
        return self.changed({"batch_size": bounded})

    def for_every_size(self) -> Space:
        """Return the space for images of several shapes: without batch normalization.

        A batch holds too few images of the same shape for the statistics.

        Raises:
            SpaceError: the space has no other normalization.
        """
        left = {}
        for name, excluded, otherwise in (
            ("normalization", ("batch",), "none"),
            ("statistics", ("re_estimated", "adapted"), "kept"),
        ):
            definition = self.definitions[name]
            if isinstance(definition, Fixed) and definition.value in excluded:
                raise SpaceError(
                    f"{name}: {definition.value!r} needs images of one size. Allow {otherwise!r}, or leave out "
                    "--image-size native."
                )
            left[name] = _without(definition, excluded, otherwise)
        return self.changed(left)

    @property
    def backbones_on_study(self) -> tuple[str, ...]:
        """Names of the backbones that may get the study's images, as networks from scratch do."""
        return self.backbones if 0 in self.definitions["resolution"] else ()

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Sides in pixels at which backbones of the space get the images, without 0, ascending; empty without any."""
        if not self.backbones:
            return ()
        definition = self.definitions["resolution"]
        sides = _offered(definition) if isinstance(definition, Choices) else (first(definition),)
        return tuple(sorted(int(side) for side in sides if side))

    @property
    def backbones(self) -> tuple[str, ...]:
        """Names of the backbones in the space; empty if all networks are trained from scratch."""
        return tuple(str(name) for name in _offered(self.definitions["backbone"]) if name != NO_BACKBONE)

    def with_backbones(self, names: Sequence[str]) -> Space:
        """Return the space without the backbones that are not in `names`.

        Raises:
            SpaceError: no network is left.
        """
        available = tuple(name for name in self.backbones if name in names)
        plain = (NO_BACKBONE,) if NO_BACKBONE in self.definitions["backbone"] else ()
        if not (plain or available):
            raise SpaceError(
                f"backbone: there are no weights of {', '.join(self.backbones)}. Pass them with --weights."
            )
        return self.changed({"backbone": Choices((*plain, *available))})

    def changed(self, definitions: Mapping[str, Definition], name: str | None = None) -> Space:
        """Return the space with some definitions replaced, and with another name if `name` is given.

        Raises:
            SpaceError: a name is not a field, or a definition is not valid for its field.
        """
        return Space(name or self.name, {**self.definitions, **definitions})

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return the definition of every field in the form that a space file has."""
        return {name: as_dict(definition) for name, definition in self.definitions.items()}

    @property
    def hash(self) -> str:
        """Hash of the definitions, twelve hexadecimal digits; name and order of keys and choices have no effect."""
        definitions = self.as_dict()
        for name, default in _LATER.items():  # studies from before these fields go on
            if self.definitions[name] == default:
                del definitions[name]
        return hashlib.sha256(json.dumps(definitions, sort_keys=True).encode()).hexdigest()[:12]

    def _suggest(self, trial: Suggest, name: str) -> Any:
        return suggest(trial, name, name, self.definitions[name])

    def _suggest_without(self, trial: Suggest, alias: str, excluded: Sequence[str], otherwise: str) -> Any:
        field = SAME_FIELD.get(alias, alias)
        definition = self.definitions[field]
        return suggest(trial, alias, field, _without(definition, excluded, otherwise))


_WARPS: Final = ("shift", "zoom", "shear", "rotation")
_CONDITIONAL: Final = (
    "class_weighting", "oversampling", "label_smoothing", "weight_decay", "dense_units", "width", "kernel_size", "head",
    "normalization", "activation", "input_scaling", "trainable", "statistics", "backbone_rate", "resolution",
    "classifier", *_WARPS,
)  # fmt: skip
_ALWAYS: Final = tuple(name for name in FIELDS if name not in (*_CONDITIONAL, "backbone"))

FAMILY: Final = "family"
"""Optuna parameter that says which of `FAMILIES` a trial belongs to, in spaces that have both."""

_UNUSED: Final = ("depth", "dense_ratio", "initializer", "dropout", "batch_size", "learning_rate")
"""Fields without a default that a classifier which is solved exactly does not use."""

_LATER: Final = {"resolution": Fixed(0), "classifier": Fixed(LAYERS)}
"""Fields that were added to the configuration later, and their definition in spaces from before."""


def _offered(definition: Definition) -> tuple[Value, ...]:
    """The values of choices, or the one of a fixed definition."""
    return definition.values if isinstance(definition, Choices) else (first(definition),)


def _without(definition: Definition, excluded: Sequence[str], otherwise: str) -> Definition:
    left = tuple(value for value in _offered(definition) if value not in excluded) or (otherwise,)
    return Choices(left) if len(left) > 1 else Fixed(left[0])


def _lowest(definition: Definition) -> float:
    return float(first(definition))
