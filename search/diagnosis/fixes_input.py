"""Changes to what the network is fed: scaling, augmentation, the user's own pipeline. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from search.causes import Cause
from search.diagnosis import changes as c
from search.diagnosis.changes import Change
from search.diagnosis.evidence import Anatomy, DataSample
from search.diagnosis.structure import (
    peak,
    pixel_range,
)


def feeds(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Scaled pixels."""
    low, high, _ = pixel_range(anatomy, material)
    top = peak(low, high) or 1.0
    scale = 255.0 if 100 < top <= 256 else top
    yield Change(
        code=cause.code, summary="scale the pixels to 0..1 in front",
        lines=f"layers.Rescaling(1 / {scale:.6g}),  # right after keras.Input(input_shape)",
        size=1, edits=(c.RescaleInput(1 / scale),),
    )  # fmt: skip
    yield _standardized(cause.code, material)


def _standardized(code: str, material: DataSample) -> Change:
    scale = 1 / max(material.deviation, 1e-6)
    offset = -material.mean * scale
    return Change(
        code=code, summary="shift and scale the pixels to mean 0 and deviation 1",
        lines=f"layers.Rescaling({scale:.6g}, offset={offset:.6g}),  # right after keras.Input(input_shape)",
        size=1, edits=(c.RescaleInput(scale, offset),),
    )  # fmt: skip


def unfaded(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Pixels that are not scaled twice."""
    scalings = [layer for layer in anatomy.layers if layer.scale is not None]
    low, high, _ = pixel_range(anatomy, material)
    span = high - low
    if scalings and span:
        last = scalings[-1]
        foreign = cause.code == "frozen-backbone-batchnorm"
        why = "so that the frozen network gets the range it knows" if foreign else "as the pixels are scaled already"
        yield Change(
            code=cause.code, summary=f"leave out {last.name}, {why}",
            lines=f"# without layers.Rescaling(...), name {last.name!r}", size=1, edits=(c.RemoveLayers((last.name,)),),
        )  # fmt: skip
    if material.preprocess:
        yield Change(
            code=cause.code, summary="scale the pixels once, to 0..1, instead of PREPROCESS",
            lines="PREPROCESS = lambda x: x / 255", size=1, edits=(c.ReplacePreprocessing(1 / 255),),
        )  # fmt: skip
        yield Change(
            code=cause.code, summary="feed the raw pixels, without PREPROCESS",
            lines="# without PREPROCESS: the network scales by itself", size=1, edits=(c.ReplacePreprocessing(1.0),),
        )  # fmt: skip
    if not scalings and span:
        yield _standardized(cause.code, material)


def unaugmented(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Without augmentation."""
    names = tuple(layer.name for layer in anatomy.layers if layer.augmentation)
    if names:
        yield Change(
            code=cause.code, summary=f"without {', '.join(names)}",
            lines="\n".join(f"# leave out the layer {name!r}" for name in names),
            size=1, edits=(c.RemoveLayers(names),),
        )  # fmt: skip
    if material.augment:
        yield _without_augment(cause.code)


def without_preprocess(code: str) -> Change:
    """Plainly scaled pixels in place of the user's pipeline."""
    return Change(
        code=code, summary="scale the pixels to 0..1 instead of PREPROCESS",
        lines="PREPROCESS = lambda x: x / 255", size=1, edits=(c.ReplacePreprocessing(1 / 255),),
    )  # fmt: skip


def _without_augment(code: str) -> Change:
    return Change(
        code=code, summary="without AUGMENT", lines="# leave out AUGMENT", size=1, edits=(c.RemoveAugmentation(),)
    )


def realigned(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Labels that a pipeline of the user's has put beside other images."""
    if material.augment:
        yield _without_augment(cause.code)
    if material.preprocess:
        yield without_preprocess(cause.code)
