"""Fixes for each cause, as data that `search.diagnosis.surgery` applies to a network. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from search.causes import Cause
from search.diagnosis import changes as c
from search.diagnosis.changes import Change
from search.diagnosis.evidence import Anatomy, DataSample
from search.diagnosis.fit_rules import sane_rates
from search.diagnosis.fixes_input import (
    remove_augmentation,
    remove_misaligning_pipeline,
    replace_preprocessing,
    scale_pixels,
    undo_double_scaling,
)
from search.diagnosis.fixes_network import (
    insert_batchnorm,
    keep_images_different,
    keep_one_softmax,
    lower_batchnorm_momentum,
    lower_dropout,
    remove_penalties,
    restore_signal,
    revive_relus,
    set_relu,
    set_usual_initializers,
    set_usual_output,
    unfreeze,
    widen,
)
from search.diagnosis.fixes_training import (
    average_loss,
    balance_classes,
    change_rate,
    change_rates,
    remove_clipping,
    train_longer,
)
from search.diagnosis.structure import (
    by_name,
)

FixMaker = Callable[[Cause, Anatomy, DataSample], Iterator[Change]]


def fixes_for(cause: Cause, anatomy: Anatomy, material: DataSample) -> tuple[Change, ...]:
    """Return changes that may fix a cause, the likeliest first; empty for most faults of the data.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
    return tuple(_BY_CODE[cause.code](cause, anatomy, material)) if cause.code in _BY_CODE else ()


def generic_fixes(anatomy: Anatomy, material: DataSample) -> tuple[Change, ...]:
    """Return changes that often help, whatever the cause; they are tried last."""

    def of(code: str, make: FixMaker) -> Iterator[Change]:
        return make(Cause(code=code, score=0.0), anatomy, material)

    low, high = sane_rates(anatomy.compilation.optimizer, anatomy.compilation.momentum)
    rate = anatomy.compilation.learning_rate
    changes: list[Change] = []
    if rate > low * 5:
        changes.append(change_rate("lr-too-high", anatomy, rate / 10))
    if rate < high / 5:
        changes.append(change_rate("lr-too-low", anatomy, rate * 10))
    changes += of("vanishing-gradient", insert_batchnorm)
    changes += of("bad-initializer", set_usual_initializers)
    changes += of("dead-relu", revive_relus)
    changes += of("too-much-dropout", lower_dropout)
    changes += of("too-strong-l2", remove_penalties)
    changes.append(train_longer("lr-too-low", material))
    return tuple(changes)


def _clipped(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    how = anatomy.compilation
    yield Change(
        code=cause.code, summary="clip the norm of gradients at 1",
        lines=f"optimizer=keras.optimizers.{how.optimizer}(learning_rate={how.learning_rate:.3g}, clipnorm=1.0)",
        size=1, edits=(c.SetClipnorm(1.0),),
    )  # fmt: skip
    yield change_rate(cause.code, anatomy, how.learning_rate / 10)
    yield from insert_batchnorm(cause, anatomy, material)


def _finite(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    broken = by_name(anatomy).get(cause.layer or "")
    if broken is not None and not broken.parameters:
        yield Change(
            code=cause.code, summary=f"leave out {broken.name}, whose outputs are not finite",
            lines=f"# leave out the layer {broken.name!r}", size=1, edits=(c.RemoveLayers((broken.name,)),),
        )  # fmt: skip
    if material.preprocess:
        yield replace_preprocessing(cause.code)
    if anatomy.compilation.loss == "custom":
        yield from average_loss(cause, anatomy, material)
    yield change_rate(cause.code, anatomy, anatomy.compilation.learning_rate / 10)
    yield change_rate(cause.code, anatomy, anatomy.compilation.learning_rate / 100)
    yield from _clipped(cause, anatomy, material)


_BY_CODE: Final[Mapping[str, FixMaker]] = {
    "bad-initializer": set_usual_initializers,
    "tied-constant-init": set_usual_initializers,
    "batchnorm-momentum": lower_batchnorm_momentum,
    "bottleneck": widen,
    "too-few-filters": widen,
    "clipnorm-too-small": remove_clipping,
    "dead-relu": revive_relus,
    "double-softmax": keep_one_softmax,
    "excessive-augmentation": remove_augmentation,
    "exploding-gradient": _clipped,
    "frozen-all": unfreeze,
    "frozen-backbone-batchnorm": unfreeze,
    "input-scaled-twice": undo_double_scaling,
    "label-noise": remove_misaligning_pipeline,
    "lr-too-high": change_rates,
    "lr-too-low": change_rates,
    "majority-class": balance_classes,
    "missing-output-activation": set_usual_output,
    "relu-on-output": set_usual_output,
    "softmax-on-one-unit": set_usual_output,
    "wrong-loss-pairing": set_usual_output,
    "nan": _finite,
    "no-nonlinearity": set_relu,
    "sum-not-mean-loss": average_loss,
    "too-much-dropout": lower_dropout,
    "too-strong-l2": remove_penalties,
    "unscaled-input": scale_pixels,
    "vanishing-gradient": restore_signal,
    "zero-variance-features": keep_images_different,
}
