"""For each cause the single changes that would cure it. Pure: data, which `search.diagnosis.surgery` applies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from search.causes import Cause
from search.diagnosis import changes as c
from search.diagnosis.changes import Change
from search.diagnosis.evidence import Anatomy, DataSample
from search.diagnosis.fit_rules import sane_rates
from search.diagnosis.fixes_input import feeds, realigned, unaugmented, unfaded, without_preprocess
from search.diagnosis.fixes_network import (
    fresher,
    initialized,
    leaky,
    less_dropout,
    less_penalty,
    livelier,
    nonlinear,
    normalized,
    single_softmax,
    thawed,
    usual_end,
    varied,
    wider,
)
from search.diagnosis.fixes_training import averaged, balanced, longer, rated, rates, unclipped
from search.diagnosis.structure import (
    by_name,
)

FixMaker = Callable[[Cause, Anatomy, DataSample], Iterator[Change]]


def fixes_for(cause: Cause, anatomy: Anatomy, material: DataSample) -> tuple[Change, ...]:
    """Changes that would cure the cause, the likeliest first; none for faults of the data."""
    return tuple(_BY_CODE[cause.code](cause, anatomy, material)) if cause.code in _BY_CODE else ()


def generic_fixes(anatomy: Anatomy, material: DataSample) -> tuple[Change, ...]:
    """What often helps whatever the cause is; tried last."""

    def of(code: str, mend: FixMaker) -> Iterator[Change]:
        return mend(Cause(code=code, score=0.0), anatomy, material)

    low, high = sane_rates(anatomy.compilation.optimizer, anatomy.compilation.momentum)
    rate = anatomy.compilation.learning_rate
    found: list[Change] = []
    if rate > low * 5:
        found.append(rated("lr-too-high", anatomy, rate / 10))
    if rate < high / 5:
        found.append(rated("lr-too-low", anatomy, rate * 10))
    found += of("vanishing-gradient", normalized)
    found += of("bad-initializer", initialized)
    found += of("dead-relu", leaky)
    found += of("too-much-dropout", less_dropout)
    found += of("too-strong-l2", less_penalty)
    found.append(longer("lr-too-low", material))
    return tuple(found)


def _clipped(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    how = anatomy.compilation
    yield Change(
        code=cause.code, summary="clip the norm of gradients at 1",
        lines=f"optimizer=keras.optimizers.{how.optimizer}(learning_rate={how.learning_rate:.3g}, clipnorm=1.0)",
        size=1, edits=(c.SetClipnorm(1.0),),
    )  # fmt: skip
    yield rated(cause.code, anatomy, how.learning_rate / 10)
    yield from normalized(cause, anatomy, material)


def _finite(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    broken = by_name(anatomy).get(cause.layer or "")
    if broken is not None and not broken.parameters:
        yield Change(
            code=cause.code, summary=f"leave out {broken.name}, whose outputs are not finite",
            lines=f"# leave out the layer {broken.name!r}", size=1, edits=(c.RemoveLayers((broken.name,)),),
        )  # fmt: skip
    if material.preprocess:
        yield without_preprocess(cause.code)
    if anatomy.compilation.loss == "custom":
        yield from averaged(cause, anatomy, material)
    yield rated(cause.code, anatomy, anatomy.compilation.learning_rate / 10)
    yield rated(cause.code, anatomy, anatomy.compilation.learning_rate / 100)
    yield from _clipped(cause, anatomy, material)


_BY_CODE: Final[Mapping[str, FixMaker]] = {
    "bad-initializer": initialized,
    "tied-constant-init": initialized,
    "batchnorm-momentum": fresher,
    "bottleneck": wider,
    "too-few-filters": wider,
    "clipnorm-too-small": unclipped,
    "dead-relu": leaky,
    "double-softmax": single_softmax,
    "excessive-augmentation": unaugmented,
    "exploding-gradient": _clipped,
    "frozen-all": thawed,
    "frozen-backbone-batchnorm": thawed,
    "input-scaled-twice": unfaded,
    "label-noise": realigned,
    "lr-too-high": rates,
    "lr-too-low": rates,
    "majority-class": balanced,
    "missing-output-activation": usual_end,
    "relu-on-output": usual_end,
    "softmax-on-one-unit": usual_end,
    "wrong-loss-pairing": usual_end,
    "nan": _finite,
    "no-nonlinearity": nonlinear,
    "sum-not-mean-loss": averaged,
    "too-much-dropout": less_dropout,
    "too-strong-l2": less_penalty,
    "unscaled-input": feeds,
    "vanishing-gradient": livelier,
    "zero-variance-features": varied,
}
