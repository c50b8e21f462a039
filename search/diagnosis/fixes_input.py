"""Fixes in the network's input: scaling, augmentation, the user's own pipeline. Pure."""

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


def scale_pixels(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield fixes of unscaled pixels: a Rescaling layer to 0..1, or to mean 0 and deviation 1.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
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


def undo_double_scaling(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield fixes of pixels that are scaled twice: drop the last Rescaling layer, or replace PREPROCESS.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
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


def remove_augmentation(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield fixes of too strong augmentation: drop the random layers, or the user's AUGMENT. Nothing without any.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
    names = tuple(layer.name for layer in anatomy.layers if layer.augmentation)
    if names:
        yield Change(
            code=cause.code, summary=f"without {', '.join(names)}",
            lines="\n".join(f"# leave out the layer {name!r}" for name in names),
            size=1, edits=(c.RemoveLayers(names),),
        )  # fmt: skip
    if material.augment:
        yield _without_augment(cause.code)


def replace_preprocessing(code: str) -> Change:
    """Return the fix: scale pixels to 0..1 instead of the user's PREPROCESS. `code`: code of the suspected cause."""
    return Change(
        code=code, summary="scale the pixels to 0..1 instead of PREPROCESS",
        lines="PREPROCESS = lambda x: x / 255", size=1, edits=(c.ReplacePreprocessing(1 / 255),),
    )  # fmt: skip


def _without_augment(code: str) -> Change:
    return Change(
        code=code, summary="without AUGMENT", lines="# leave out AUGMENT", size=1, edits=(c.RemoveAugmentation(),)
    )


def remove_misaligning_pipeline(cause: Cause, anatomy: Anatomy, material: DataSample) -> Iterator[Change]:
    """Yield fixes of a pipeline that gives images the labels of others: drop AUGMENT, or replace PREPROCESS.

    Args:
        cause: the suspected cause.
        anatomy: description of the network.
        material: sample of images and labels.
    """
    if material.augment:
        yield _without_augment(cause.code)
    if material.preprocess:
        yield replace_preprocessing(cause.code)
