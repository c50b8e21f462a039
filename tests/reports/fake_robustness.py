"""What the robust part of a study might have left: finalists, neighbours, importances, mistakes, made by hand."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from search.metric_definitions import METRICS
from search.records import CONFIRM, Confirmation, Fit, StudyRecord, Verdict
from search.selection.results import (
    ClassScores,
    Finalist,
    Importances,
    LabelSuspect,
    Mistake,
    Neighbour,
    Neighbourhood,
    OnImages,
    Results,
    SafeRange,
)
from spaces.config import CHOICES, FIELDS
from tests.reports import fake_results as fake

CORRUPTIONS = ("noise", "blur", "brightness", "contrast", "shift", "rotation", "jpeg", "resolution")
REPEATS = 5


def everything(
    n: int = 40, *, classes: dict[str, int] | None = None, finalists: int = 6, file: Callable[[int], str] | None = None
) -> Results:
    """A study with every part of the report."""
    results = fake.results(
        fake.trials(n), classes=classes, test=True, quarantined={"benign/broken.png": "truncated", "a/ü.gif": "empty"}
    )
    return looked_at(weighed(surrounded(confirmed(results, finalists))), file=file)


def confirmed(results: Results, finalists: int = 6, *, collapsed: int = 0) -> Results:
    """With the best of the search trained again; one dropped, one vetoed if there are enough. The second is equal."""
    best = results.recommended
    if best is None:
        return results
    found = [_finalist(ranked, place, results, collapsed) for place, ranked in enumerate(results.ranking[:finalists])]
    plan = Confirmation(
        finalists=tuple(one.trial.configuration.hash for one in found),
        folds=fake.FOLDS,
        repeats=REPEATS,
        planned=REPEATS,
        notes=("6 finalists instead of 8: there was no time for more.",),
    )
    own = next(one for one in found if one.trial.number == best.ranked.trial.number)
    return replace(
        results,
        finalists=tuple(found),
        recommended=replace(best, finalist=own, promise=replace(best.promise, stages=2)),
        study=_with(results, further=tuple(fit for one in found for fit in one.fits), confirmation=plan),
    )


def surrounded(results: Results, *, cliff: bool = True) -> Results:
    """With a neighbourhood and safe ranges."""
    if results.recommended is None:
        return results
    c = results.recommended.ranked.trial.configuration
    moves: list[tuple[str, Any, float]] = [
        ("learning_rate", 3 * c.learning_rate, -0.21 if cliff else -0.02),
        ("learning_rate", c.learning_rate / 3, -0.031),
        ("dropout", c.dropout / 2, 0.012),
        ("batch_size", 2 * c.batch_size, -0.004),
        ("depth", c.depth + 1, -0.016),
        ("initializer", "he_uniform", 0.006),
        ("normalization", "group", -0.022),
        ("activation", "elu", 0.0),
    ]
    centre = results.recommended.ranked.mean
    neighbours = tuple(
        Neighbour(
            changes={name: (getattr(c, name), to)},
            score=centre + gain,
            difference=gain,
            collapsed=gain < -0.2,
            cliff=gain < -0.1,
        )
        for name, to, gain in sorted(moves, key=lambda move: move[2])
    )
    ranges = {
        "learning_rate": SafeRange(low=c.learning_rate / 3, high=1.8 * c.learning_rate, choices=(), configurations=9),
        "dropout": SafeRange(low=0.1, high=0.45, choices=(), configurations=8),
        "batch_size": SafeRange(low=c.batch_size, high=2 * c.batch_size, choices=(), configurations=5),
        "depth": SafeRange(low=c.depth, high=c.depth, choices=(), configurations=4),
        "initializer": SafeRange(low=None, high=None, choices=("he_uniform", c.initializer), configurations=6),
        "horizontal_flip": SafeRange(low=None, high=None, choices=(True,), configurations=3),
    }
    around = Neighbourhood(neighbours=neighbours, centre=centre, se=0.017, drop=0.008, cliff=cliff)
    return replace(results, neighbourhood=around, safe_ranges=ranges)


def weighed(results: Results) -> Results:
    """With importances."""
    names = ["learning_rate", "initializer", "n_conv", "dropout", "batch_size", "normalization", "weight_decay"]
    score = dict(zip(names, (0.34, 0.14, 0.11, 0.08, 0.03, 0.012, 0.0), strict=True))
    collapse = dict(zip([names[1], names[0], *names[2:]], (0.41, 0.22, 0.1, 0.05, 0.02, 0.01, 0.0), strict=True))
    assert all(name in FIELDS or name in ("n_conv", "n_dense") for name in names)
    assert "initializer" in CHOICES
    return replace(results, importances=Importances(score=score, collapse=collapse, trials=26, collapsed=14))


def looked_at(
    results: Results,
    *,
    mistakes: int = 9,
    suspects: int = 3,
    thumbnails: bool = True,
    file: Callable[[int], str] | None = None,
) -> Results:
    """With a confusion matrix, mistakes, suspects and thumbnails."""
    labels, k = results.study.labels, len(results.study.data.classes)
    rng = np.random.default_rng(5)
    decided = np.where(rng.random(len(labels)) < 0.78, labels, rng.integers(0, k, len(labels)))
    matrix = np.zeros((k, k), np.int64)
    np.add.at(matrix, (labels, decided), 1)
    wrong = np.flatnonzero(labels != decided)
    rows = wrong[: max(mistakes, suspects)]
    names = list(results.study.data.classes)
    files = tuple(file(row) if file else f"{names[labels[row]]}/IMG_{row:04d}.jpg" for row in range(len(labels)))
    chances = [rng.dirichlet(np.ones(k) * 0.4) for _ in rows]
    for row, chance in zip(rows, chances, strict=True):
        top = chance.argmax()
        chance[[top, decided[row]]] = chance[[decided[row], top]]
    seen = OnImages(
        confusion=matrix,
        mistakes=tuple(
            Mistake(
                row=int(row),
                label=int(labels[row]),
                predicted=int(decided[row]),
                probabilities=tuple(float(p) for p in chance),
            )
            for row, chance in zip(rows[:mistakes], chances, strict=False)
        ),
        suspects=tuple(
            LabelSuspect(row=int(row), label=int(labels[row]), likely=int(decided[row]), confidence=0.93)
            for row in rows[:suspects]
        ),
        by_class=tuple(
            ClassScores(
                images=int(matrix[label].sum()),
                precision=float(matrix[label, label] / matrix[:, label].sum()),
                recall=float(matrix[label, label] / matrix[label].sum()),
                f1=float(2 * matrix[label, label] / (matrix[label].sum() + matrix[:, label].sum())),
                auc=0.91,
                average_precision=0.84,
                recall_at_precision=0.37,
            )
            for label in range(k)
        ),
        in_metrics={metric: 0.5 + place / 20 for place, metric in enumerate(METRICS)},
    )
    pictures = {int(row): thumbnail(int(row)) for row in rows} if thumbnails else {}
    return replace(results, on_images=seen, study=_with(results, files=files, thumbnails=pictures))


def thumbnail(seed: int, side: int = 64) -> str:
    """A small picture of something, JPEG as base64."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side - rng.uniform(0.3, 0.7, 2)[:, None, None]
    blob = np.exp(-(x**2 + y**2 * rng.uniform(0.5, 2)) * 18)[..., None] * rng.uniform(60, 200, 3)
    pixels = np.clip(rng.uniform(120, 220, 3) - blob + rng.normal(0, 4, (side, side, 3)), 0, 255).astype(np.uint8)
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return base64.b64encode(stream.getvalue()).decode()


def _finalist(ranked: Any, place: int, results: Results, collapsed: int) -> Finalist:
    rng = np.random.default_rng(100 + ranked.trial.number)
    dropped = "clearly behind after two splits" if place == 4 else None
    repeats = 2 if dropped else REPEATS
    bad = 4 if place == 3 else collapsed if place == 0 else 0
    fits: list[Fit] = []
    for repeat in range(repeats):
        for fold in range(fake.FOLDS):
            reason = "prior-predictor" if repeat * fake.FOLDS + fold < bad else None
            score = results.chance if reason else float(np.clip(rng.normal(ranked.pooled - 0.04, 0.035), 0, 1))
            fit = fake.fit(ranked.trial.number, fold, score, reason, attempt=0)
            fits.append(
                replace(
                    fit,
                    key=f"c{ranked.trial.number:05x}{repeat:05x}{fold:05x}",
                    stage=CONFIRM,
                    repeat=repeat,
                    configuration=ranked.trial.configuration.hash,
                    seed=int(rng.integers(2**31)),
                    checks=(),
                )
            )
    scores = tuple(fit.score for fit in fits if fit.score is not None)
    mean, se = float(np.mean(scores)), float(np.std(scores) * np.sqrt(1 / len(scores) + 1 / (fake.FOLDS - 1)))
    failed = sum(fit.verdict is Verdict.COLLAPSED for fit in fits)
    return Finalist(
        trial=ranked.trial,
        fits=tuple(fits),
        scores=scores,
        mean=mean,
        se=se,
        robust=mean - se,
        worst=min(scores),
        collapsed=failed,
        collapse_upper=0.11 if not failed else 0.34,
        complete=dropped is None,
        veto=failed > len(fits) / 10,
        healthy=failed <= len(fits) / 10,
        parameters=12_345 * (place + 1),
        equal=place in (0, 1, 2),
        dropped=dropped,
        corruptions={name: (float(rng.uniform(-0.01, 0.05)), float(rng.uniform(0.02, 0.3))) for name in CORRUPTIONS}
        if place < 3
        else {},
    )


def _with(results: Results, **changes: Any) -> StudyRecord:
    return replace(results.study, **changes)
