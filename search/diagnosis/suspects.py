"""Ranking of suspected causes by lint, probe and fits: the order in which their fixes are tried. Pure.

Lint gives the first suspects; the probe and the fits raise or lower their scores, and add further ones. Generic
symptoms (dead units, fading gradients) rank below the structural faults that would explain them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Final

from search.causes import Cause
from search.diagnosis.build_rules import FADED, RAW
from search.diagnosis.evidence import Anatomy, DataSample, DiagnosisFit, LayerStatistics, NetworkProbe, NetworkState
from search.diagnosis.lint import lint
from search.diagnosis.structure import by_name, head, hidden, is_normalized, peak, weighted

EXPLODED: Final = 4.0  # times the expected loss at the start: outputs are far too large
FADING: Final = 1e-3  # ratio of the first to the last gradient, or of signals, that has faded
LEVELLED: Final = 1e-4  # differences between images that a layer without weights leaves of what it gets
ALL_DEAD: Final = 0.99  # share of a layer's units
TINY: Final = 0.05  # score below which a suspect is dropped


class _Board:
    """Suspected causes so far, one for each code."""

    def __init__(self, causes: Sequence[Cause]) -> None:
        self.causes = {cause.code: cause for cause in causes}

    def score(self, code: str) -> float:
        return self.causes[code].score if code in self.causes else 0.0

    def at_least(self, code: str, score: float, layer: str | None = None, **evidence: float | str) -> None:
        """Suspect `code` with this score or more."""
        old = self.causes.get(code)
        if old is None:
            self.causes[code] = Cause(code=code, score=score, layer=layer, evidence=evidence)
        else:
            self.causes[code] = replace(
                old, score=max(old.score, score), layer=old.layer or layer, evidence={**evidence, **old.evidence}
            )

    def more(self, code: str, by: float, **evidence: float | str) -> None:
        """Raise (or lower) the score of a suspect that is there already."""
        if code in self.causes:
            old = self.causes[code]
            score = min(0.97, max(0.0, old.score + by)) if old.score < 0.97 else old.score
            self.causes[code] = replace(old, score=score, evidence={**old.evidence, **evidence})

    def drop(self, code: str) -> None:
        self.causes.pop(code, None)

    def ranked(self) -> tuple[Cause, ...]:
        return tuple(sorted((c for c in self.causes.values() if c.score >= TINY), key=lambda c: -c.score))


def suspects(
    anatomy: Anatomy,
    material: DataSample,
    probe: NetworkProbe,
    runs: Sequence[DiagnosisFit],
    state: NetworkState,
    chance: float,
) -> tuple[Cause, ...]:
    """Rank the suspected causes, the highest score first; one per code.

    Args:
        anatomy: description of the network.
        material: sample of images and labels.
        probe: measurements of the untrained network.
        runs: fits of the unchanged network.
        state: verdict on these fits.
        chance: balanced accuracy of guessing, 0..1.
    """
    board = _Board(lint(anatomy, material))
    _pixels(board, anatomy, probe)
    _signals(board, anatomy, probe)
    _training_mode(board, anatomy, probe)
    _backbone(board, probe)
    _fits(board, anatomy, material, probe, runs)
    _steps(board, probe, runs)
    _data(board, material, probe, state, chance)
    _states(board, anatomy, material, state)
    return board.ranked()


def _pixels(board: _Board, anatomy: Anatomy, probe: NetworkProbe) -> None:
    """Judge the range of the pixels at the first kernel, past layers whose scaling can't be read."""
    if probe.low is None or probe.high is None:
        return
    top = peak(probe.low, probe.high)
    first = next(iter(weighted(anatomy)), None)
    if top <= RAW:
        board.drop("unscaled-input")
    elif board.score("unscaled-input") == 0 and first is not None:
        score = 0.1 if is_normalized(anatomy, first) else 0.55
        board.at_least("unscaled-input", score, first.name, lowest=probe.low, highest=probe.high)
    spread = probe.high - probe.low
    if spread >= FADED:
        board.drop("input-scaled-twice")
    elif first is not None and spread > 0 and board.score("zero-variance-features") == 0:
        scaled = any(layer.scale is not None for layer in anatomy.layers)
        score = 0.5 if is_normalized(anatomy, first) else 0.9
        code = "input-scaled-twice" if top < FADED else "zero-variance-features"
        board.at_least(code, score if scaled or code != "input-scaled-twice" else 0.7, first.name, spread=spread)


def _signals(board: _Board, anatomy: Anatomy, probe: NetworkProbe) -> None:
    """Judge the untrained network: outputs far too large, dead layers, signals and gradients that fade."""
    if probe.batch_ratio is not None and 1.7 < probe.batch_ratio < 2.3:
        score = 0.75 if anatomy.compilation.optimizer in ("SGD", "Adagrad") else 0.4
        board.at_least("sum-not-mean-loss", score, None, loss_of_twice_the_batch=probe.batch_ratio)
    last = anatomy.output
    bodies = [layer for layer in probe.layers if layer.name != last]
    if not probe.finite:
        broken = next((layer.name for layer in probe.layers if not math.isfinite(layer.deviation)), None)
        board.at_least("nan", 0.9, broken, at_the_start="outputs or loss not finite")
    ratio = probe.loss / probe.expected_loss if probe.expected_loss > 0 and math.isfinite(probe.loss) else math.nan
    if ratio > EXPLODED and not board.score("sum-not-mean-loss"):
        board.more("unscaled-input", 0.3, first_loss=probe.loss)
        board.more("bad-initializer", 0.1, first_loss=probe.loss)
        if max(board.score(code) for code in ("unscaled-input", "bad-initializer", "missing-output-activation")) < 0.5:
            board.at_least(
                "exploding-gradient", 0.5, _jump(bodies), first_loss=probe.loss, expected=probe.expected_loss
            )
    lost = _levelled(anatomy, bodies)
    if lost is not None:
        board.at_least("zero-variance-features", 0.85, lost.name, between_images=lost.between_images)
        bodies = bodies[: bodies.index(lost)]  # what lies behind it only shows its doing
    dead = [layer for layer in bodies if layer.dead >= ALL_DEAD and math.isfinite(layer.deviation)]
    if dead:
        board.at_least("dead-relu", 0.8, dead[0].name, dead_share=dead[0].dead, when="before training")
    graded = [layer for layer in probe.layers if layer.gradient is not None]
    if len(graded) >= 3 and graded[-1].gradient and graded[0].gradient is not None:
        fading = graded[0].gradient / graded[-1].gradient
        if fading < FADING and not dead:
            board.at_least("vanishing-gradient", 0.6, graded[0].name, first_to_last_gradient=fading)
            board.more("vanishing-gradient", 0.1)
    alive = [layer for layer in bodies if layer.between_images > 0 and math.isfinite(layer.deviation)]
    if alive and not dead:
        relative = [layer.between_images / (abs(layer.mean) + layer.deviation + 1e-12) for layer in alive]
        if relative[-1] < 1e-3:
            score = 0.5 if relative[-1] < 1e-4 else 0.4
            board.at_least("zero-variance-features", score, alive[-1].name, between_images=relative[-1])


def _levelled(anatomy: Anatomy, layers: Sequence[LayerStatistics]) -> LayerStatistics | None:
    """Find the first layer without kernel or activation after which images no longer differ; None if there is none.

    Such a layer pools, crops, normalizes or clips away the differences between the images.
    """
    layer_info = by_name(anatomy)
    before = 0.0
    for layer in layers:
        built = layer_info.get(layer.name)
        silent = built is not None and built.initializer is None and built.activation is None
        if silent and math.isfinite(layer.between_images) and layer.between_images < LEVELLED * before:
            return layer
        if math.isfinite(layer.between_images):
            before = layer.between_images
    return None


def _jump(layers: Sequence[LayerStatistics]) -> str | None:
    """The layer with the largest deviation."""
    return max(layers, key=lambda layer: layer.deviation).name if layers else None


def _training_mode(board: _Board, anatomy: Anatomy, probe: NetworkProbe) -> None:
    if probe.train_mode_loss is not None and probe.train_mode_loss > 3 * max(probe.loss, probe.expected_loss):
        board.more("too-much-dropout", 0.1, training_mode_loss=probe.train_mode_loss)
    if probe.penalty > 10 * max(probe.expected_loss, 1e-9):
        board.more("too-strong-l2", 0.25, penalty_to_loss=probe.penalty / max(probe.expected_loss, 1e-9))
    elif probe.penalty < 0.2 * probe.expected_loss:
        board.more("too-strong-l2", -0.15)


def _backbone(board: _Board, probe: NetworkProbe) -> None:
    shift, spread = probe.backbone_shift, probe.backbone_spread
    if shift is None or spread is None:
        return
    if shift > 2 or spread > 5 or spread < 0.2:
        board.at_least("frozen-backbone-batchnorm", 0.88, None, shift=shift, spread=spread)


def _fits(
    board: _Board, anatomy: Anatomy, material: DataSample, probe: NetworkProbe, runs: Sequence[DiagnosisFit]
) -> None:
    """Judge the fits of the unchanged network."""
    broken = [run.error for run in runs if run.error]
    if broken:
        board.more("wrong-loss-pairing", 0.1, error=str(broken[0]))
    ended = [run for run in runs if run.epochs and not run.learned]
    if not ended:
        return
    if sum(not run.epochs[-1].finite for run in ended) * 2 > len(ended):
        board.at_least("nan", 0.35, None, epoch=float(len(ended[0].epochs)))
        board.more("unscaled-input", 0.1)
    dying = [epoch for run in ended for epoch in run.epochs[-1:] if epoch.dead >= ALL_DEAD]
    if len(dying) * 2 > len(ended):
        board.at_least("dead-relu", 0.42, dying[0].dead_layer, dead_share=dying[0].dead, when="after training")
    first = [run.epochs[0].loss for run in ended]
    if math.isfinite(probe.loss) and median(first) > 8 * max(probe.loss + probe.penalty, probe.expected_loss):
        board.more("lr-too-high", 0.25, loss_after_one_epoch=median(first))
        board.at_least("lr-too-high", 0.3, None, loss_after_one_epoch=median(first))
    shrunk = [
        run.epochs[-1].weight / run.epochs[0].weight
        for run in ended
        if run.epochs[0].weight > 0 and math.isfinite(run.epochs[-1].weight)
    ]
    if shrunk and len(ended[0].epochs) > 2 and median(shrunk) < 0.5:
        board.more("too-strong-l2", 0.25, weights_left=median(shrunk))


def _steps(board: _Board, probe: NetworkProbe, runs: Sequence[DiagnosisFit]) -> None:
    """Judge how far the weights move in a step, relative to their size."""
    first = [layer.update for layer in probe.layers if layer.update is not None]
    moved = [epoch.update for run in runs for epoch in run.epochs if math.isfinite(epoch.update)]
    if first and max(first) > 0.5 and not any(not run.epochs for run in runs):
        board.more("lr-too-high", 0.15, largest_first_update=max(first))
    if moved and max(moved) < 1e-5 and board.score("frozen-all") < 0.9 and board.score("clipnorm-too-small") < 0.5:
        board.more("lr-too-low", 0.2, largest_update=max(moved))
        board.at_least("lr-too-low", 0.4, None, largest_update=max(moved))
    if probe.overfits is False and board.score("lr-too-low"):
        board.more("lr-too-low", 0.05)


def _data(board: _Board, material: DataSample, probe: NetworkProbe, state: NetworkState, chance: float) -> None:
    """Judge images and labels."""
    count = len(material.classes)
    smallest = min(material.classes.values())
    guessing = material.baseline < chance + max(0.06, 2.5 * math.sqrt(chance * (1 - chance) / max(1, material.images)))
    clean = max((c.score for c in board.causes.values()), default=0.0) < 0.8
    if material.conflicting > 0.1 * material.images:
        board.at_least("label-noise", 0.8, None, same_image_other_label=float(material.conflicting))
    if guessing and material.images >= 12 * count:
        score = 0.9 if state is NetworkState.MEMORISER else 0.6 if clean else 0.3
        board.at_least("label-noise", score, None, simple_methods=material.baseline, chance=chance)
    if material.duplicates > 0.1 * material.images:
        board.at_least(
            "leak", 0.93 if state is NetworkState.MEMORISER else 0.2, None, copies=float(material.duplicates)
        )
    if probe.misaligned > 0.1:
        board.at_least("label-noise", 0.95, None, images_with_the_label_of_another=probe.misaligned)
    if smallest < 12:
        score = 0.8 if state in (NetworkState.MEMORISER, NetworkState.WEAK) and smallest < 10 else 0.25
        board.at_least("too-few-images", score, None, smallest_class=float(smallest))


def _states(board: _Board, anatomy: Anatomy, material: DataSample, state: NetworkState) -> None:
    """Add the causes that the verdict itself suggests."""
    if state is NetworkState.UNTOLD:
        board.at_least("too-few-images", 0.95, None, smallest_class=float(min(material.classes.values())))
    if state is NetworkState.BATCHNORM:
        board.at_least("batchnorm-momentum", 0.9, _first_batchnorm(anatomy))
    if state is NetworkState.THRESHOLD:
        board.more("majority-class", 0.45, ranks_well="True")
    if material.augment:
        board.at_least("excessive-augmentation", 0.5, None, own="AUGMENT")
    if len(hidden(anatomy)) == 0 and head(anatomy).layer is not None and board.score("no-nonlinearity"):
        board.drop("no-nonlinearity")


def _first_batchnorm(anatomy: Anatomy) -> str | None:
    return next((layer.name for layer in anatomy.layers if layer.momentum is not None), None)
