"""Results made by hand: what a study might have left, without running one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from search import records
from search.causes import Cause
from search.fit_checks import LAYER_SIGNALS, Check, Collapse
from search.records import DataSummary, Fit, StudyRecord, Trial, TrialState, Verdict
from search.selection import counts
from search.selection.families import linear_probe, network_kinds, worth_of_pretraining
from search.selection.results import Audit, Control, EpochTally, MapCell, Promise, Ranked, Recommendation, Results
from search.settings import Identity, Plan, TrainingProtocol
from spaces.config import CHOICES, HEADS, SCRATCH, Configuration
from spaces.image_format import ImageFormat

ROOT = Path(__file__).parents[2]
EPOCHS = 40
FOLDS = 5
LITE = ("efficientnet_lite0", "efficientnet_lite2")
EXACT: Mapping[str, Any] = {
    "backbone": LITE[0],
    "trainable": "frozen",
    "statistics": "kept",
    "head": "average",
    "resolution": 224,
    "classifier": "logistic",
}
REASONS = ("dead-layer", "prior-predictor", "non-finite", "no-gradient")


def configuration(seed: int, **changes: Any) -> Configuration:
    """Some configuration; the same for the same seed."""
    rng = np.random.default_rng(seed)
    values: dict[str, Any] = {
        "depth": int(rng.integers(1, 9)),
        "dense_ratio": float(rng.choice([0.1, 0.25, 0.5, 0.75, 1.0])),
        "dropout": float(rng.uniform(0, 0.7)),
        "batch_size": int(2 ** rng.integers(2, 8)),
        "learning_rate": float(10 ** rng.uniform(-5, -1.5)),
        "horizontal_flip": bool(rng.random() < 0.5),
        **{name: str(rng.choice(choices)) for name, choices in CHOICES.items()},
        "backbone": "none",
        "head": str(rng.choice(HEADS)),
    }
    if round(values["depth"] * values["dense_ratio"]) == 0:
        values["head"] = "average"
    return Configuration(**{**values, **changes})


def check(epoch: int, loss: float, skill: float, score: float = 0.5) -> Check:
    """A check of which only the shown numbers matter."""
    return Check(
        epoch=epoch,
        updates=10 * epoch,
        train_loss=loss,
        train_skill=skill,
        val_loss=loss,
        val_skill=skill,
        score=score,
        auc=0.5,
        top_share=1.0,
        logit_spread=0.1,
        dead_share=0.0,
        first_gradient=1.0,
        last_gradient=1.0,
        update_ratio=1e-3,
        finite=True,
        warmth=1.0,
    )


CONTROL = Control(auc=0.53, shuffled_auc=0.54, p_value=0.6, upper_95=0.58, baseline=0.51, suspect="labels")
CAUSED = (
    Cause(code="dead-relu", score=0.8, layer="conv 2", evidence={"dead_share": 1.0, "when": "from <the> start"}),
    Cause(code="lr-too-high", score=0.5, evidence={"learning_rate": 0.3}),
)


def fit(trial: int, fold: int, score: float | None, reason: str | None = None, attempt: int = 0, **changes: Any) -> Fit:
    """A fit with a curve that ends at `score`, or collapses with `reason` after a few epochs."""
    rng = np.random.default_rng([trial, fold, attempt])
    epochs = int(rng.integers(4, 16)) if reason else EPOCHS
    top = 0.0 if reason or score is None else 1.6 * (score - 0.5)
    steps = np.arange(1, epochs + 1, max(1, epochs // 20))
    skills = top * (1 - np.exp(-steps / 9)) + rng.normal(0, 0.02, len(steps))
    checks = tuple(check(int(e), float(0.69 * (1 - s)), float(s)) for e, s in zip(steps, skills, strict=True))
    if reason == "non-finite":
        checks = (*checks[:-1], check(int(steps[-1]), float("nan"), float("nan")))
    base = Fit(
        key=f"{trial:06x}{fold:05x}{attempt:05x}",
        trial=trial,
        stage="search",
        configuration="",
        repeat=0,
        fold=fold,
        attempt=attempt,
        seed=int(rng.integers(2**31)),
        verdict=Verdict.COLLAPSED if reason else Verdict.LEARNED,
        reason=reason,
        evidence={"dead_share": 1.0, "val_skill": float("nan")} if reason else {},
        epochs=epochs,
        epochs_planned=EPOCHS,
        seconds=float(rng.uniform(1, 9)),
        score=score,
        loss=checks[-1].val_loss,
        skill=checks[-1].val_skill,
        checks=checks,
        causes=CAUSED if reason else (),
        symptom=None if reason or fold or trial % 3 else "threshold",
    )
    return replace(base, **changes)


def _layers(config: Configuration, of: Fit) -> np.ndarray:
    """Signals of every weight layer that fade with depth, and die with epochs in a collapsed fit."""
    rows, layers = 1 + len(of.checks), config.depth + 1
    values = np.full((rows, layers, len(LAYER_SIGNALS)), 0.1, np.float32) * 0.6 ** np.arange(layers)[None, :, None]
    if of.verdict is Verdict.COLLAPSED:
        values[:, :, LAYER_SIGNALS.index("dead_share")] = np.linspace(0, 1, rows)[:, None]
        values[:, :, LAYER_SIGNALS.index("gradient")] *= np.linspace(1, 0, rows)[:, None]
    return values.astype(np.float32)


def trial(number: int, scores: Sequence[float], reason: str | None = None, raced: bool = False) -> Trial:
    """A trial with one fit a score; with a reason the last one collapsed."""
    fits = [fit(number, fold, score) for fold, score in enumerate(scores)]
    if reason:
        fits.append(fit(number, len(scores), 0.5, reason))
    state = TrialState.COLLAPSED if reason else TrialState.RACED if raced else TrialState.COMPLETE
    config = configuration(number)
    return Trial(
        number=number,
        state=state,
        configuration=config,
        fits=tuple(replace(f, configuration=config.hash, layers=_layers(config, f)) for f in fits),
        reason=reason or ("behind" if raced else None),
        seconds=sum(f.seconds for f in fits),
    )


def exact(number: int, scores: Sequence[float], raced: bool = False, **changes: Any) -> Trial:
    """A trial on a frozen backbone with a classifier that is solved exactly: without epochs, checks and curves."""
    config = configuration(number, **{**EXACT, **changes})
    nothing = Fit(**{name: getattr(fit(number, 0, 0.5), name) for name in ("key", "trial", "stage", "seed", "repeat")},
        configuration=config.hash, fold=0, attempt=0, verdict=Verdict.LEARNED)  # fmt: skip
    fits = tuple(
        replace(nothing, key=fit(number, fold, score).key, fold=fold, score=score, skill=score - 0.2, seconds=0.3)
        for fold, score in enumerate(scores)
    )
    return Trial(
        number=number,
        state=TrialState.RACED if raced else TrialState.COMPLETE,
        configuration=config,
        fits=fits,
        reason="behind" if raced else None,
        seconds=sum(f.seconds for f in fits),
    )


def both_families(gain: float, exact_only: bool = False) -> Results:
    """Results of eight classifiers on features, six of them scored, and of networks from scratch that lack `gain`."""
    scratch = () if exact_only else trials(16)
    best = max((np.mean([f.score for f in t.fits]) for t in scratch if t.state is TrialState.COMPLETE), default=0.7)
    level = float(best) + gain
    heads = []
    for place in range(8):
        scores = [level + noise - 0.01 * place for noise in (0.01, -0.01, 0.02, -0.02, 0.0)]
        choice = {"classifier": ("logistic", "ridge", "discriminant")[place % 3], "backbone": LITE[place // 6]}
        heads.append(exact(16 + place, scores[: 5 if place < 6 else 1], raced=place >= 6, **choice))
    return results((*scratch, *heads), test=True)


def trials(n: int, seed: int = 0, collapsed: float = 0.35, raced: float = 0.3) -> tuple[Trial, ...]:
    """A study's worth of trials, getting better."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(n):
        draw = rng.random()
        level = min(0.93, 0.55 + 0.25 * rng.beta(2, 2) + 0.12 * number / n)
        scores = [float(np.clip(rng.normal(level, 0.04), 0, 1)) for _ in range(FOLDS)]
        if draw < collapsed:
            made.append(
                trial(number, scores[: int(rng.integers(0, 2))], str(rng.choice(REASONS, p=[0.5, 0.3, 0.15, 0.05])))
            )
        elif draw < collapsed + raced:
            made.append(trial(number, [s - 0.1 for s in scores[:2]], raced=True))
        else:
            made.append(trial(number, scores))
    return tuple(made)


TEST = records.TestScore(score=0.81, n=60, configuration="abc", seed=7, fingerprint="def")


def results(
    some_trials: Sequence[Trial] = (),
    *,
    classes: Mapping[str, int] | None = None,
    quarantined: Mapping[str, str] | None = None,
    healthy: bool = True,
    reason: str | None = None,
    test: bool = False,
    inconclusive: bool = False,
    folder: str = "images",
    depth_sentence: str = "Three to five layers with few dense ones work best here.",
) -> Results:
    """Results over these trials; ranked by the mean of their folds, which stands for the pooled score."""
    classes = classes or {"benign": 62, "malignant": 58}
    chance = 1 / len(classes)
    images = sum(classes.values())
    ranking = tuple(sorted((ranked(t, healthy) for t in some_trials if t.state is TrialState.COMPLETE), key=_place))
    best = ranking[0] if ranking and healthy else None
    verdicts = Counter(str(f.verdict) for t in some_trials for f in t.fits)
    reasons = Counter(f.reason for t in some_trials for f in t.fits if f.verdict is Verdict.COLLAPSED and f.reason)
    study = StudyRecord(
        name="search",
        data=DataSummary(
            folder=folder,
            fingerprint="3f2a9c81d07e",
            classes=classes,
            images=images,
            quarantined=quarantined or {},
            image_size=64,
            size_reason="half of the images have a shorter side of 61 to 70 pixels.",
            channels=3,
            groups=None,
            sizes={"640 x 480": images - 20, "600 x 450": 14, "other": 6},
            grey=3,
            duplicates=2,
        ),
        labels=np.repeat(np.arange(len(classes)), list(classes.values())),
        groups=None,
        identity=Identity(
            fingerprint="3f2a9c81d07e",
            groups=None,
            image_size=64,
            folds=FOLDS,
            epochs=None,
            seed=7,
            metric="balanced_accuracy",
            space="55aa",
        ),
        plan=Plan(
            epochs=EPOCHS,
            folds=FOLDS,
            search_seconds=28000.0,
            final_seconds=600.0,
            fit_seconds=120.0,
            notes=("40 epochs: every training sees about 4,800 images.",),
        ),
        protocol=TrainingProtocol(
            epochs=EPOCHS,
            images=ImageFormat(image_size=64, channels=3),
            classes=len(classes),
            weights=tuple((name, f"{name} digest") for name in LITE),
        ),
        settings={"data": folder, "trials": 200, "timeout": float("inf"), "folds": FOLDS},
        trials=tuple(some_trials),
        seconds=sum(t.seconds for t in some_trials),
        device="CPU (2 cores)",
        versions={"python": "3.11.9", "tensorflow": "2.21.0", "steadynet": "0.1.0"},
        command=f"python run_search.py --data {folder} --seed 7",
        baselines={"constant": chance, "knn": chance + 0.12, "logistic": chance + 0.17},
        test=TEST if test and best else None,
    )
    recommended = None
    if best:
        value = best.pooled - 0.045
        promise = Promise(
            value=value,
            low=value - 0.08,
            high=min(1.0, value + 0.07),
            stages=1,
            recalls=dict.fromkeys(classes, (value, value - 0.1, value + 0.05)),
            inconclusive=inconclusive,
        )
        recommended = Recommendation(ranked=best, promise=promise, offset=(0.0, -0.21), parameters=12_345)
    all_fits = counts.unique_fits(some_trials)
    run = sum(f.epochs for t in some_trials for f in t.fits)
    full = sum(not t.configuration.is_closed_form for t in some_trials) * FOLDS * EPOCHS
    return Results(
        study=study,
        chance=chance,
        ranking=ranking,
        recommended=recommended,
        reason=None if recommended else (reason or "no configuration judged"),
        verdicts={str(v): verdicts.get(str(v), 0) for v in Verdict},
        collapse_reasons=dict(reasons.most_common()),
        causes=counts.causes(all_fits),
        symptoms=counts.symptoms(all_fits),
        control=None if recommended or not some_trials else CONTROL,
        audit=Audit(checked=7, wrongly_stopped=0, upper_95=0.348)
        if some_trials
        else Audit(checked=0, wrongly_stopped=0, upper_95=None),
        epochs=EpochTally(run=run, saved_by_collapse=(full - run) // 2, saved_by_racing=(full - run) // 2, full=full),
        depth_map=_depth_map(some_trials, chance),
        depth_sentence=depth_sentence,
        kinds=network_kinds(some_trials, ranking),
        pretraining=worth_of_pretraining(ranking),
        linear_probe=linear_probe(ranking),
    )


def audited(fit_: Fit) -> Fit:
    """The fit, having been let run on by the audit."""
    return replace(fit_, audit=Collapse(reason="prior-predictor", hard=False, epoch=11, evidence={}))


def _place(ranked: Ranked) -> tuple[float, int]:
    return (-ranked.pooled, ranked.trial.number)


def ranked(t: Trial, healthy: bool) -> Ranked:
    """The trial with the scores of its fits, the mean standing for the pooled score."""
    folds = tuple(f.score for f in t.fits if f.score is not None)
    mean = sum(folds) / len(folds)
    return Ranked(
        trial=t, pooled=mean, folds=folds, mean=mean, se=0.021, worst=min(folds), collapse_rate=0.0, healthy=healthy
    )


def _depth_map(some_trials: Sequence[Trial], chance: float) -> tuple[MapCell, ...]:
    if not some_trials:
        return ()
    cells = []
    for depth in ((1, 2), (3, 4), (5, 8)):
        for ratio in ((0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0)):
            inside = [
                t
                for t in some_trials
                if t.configuration.family == SCRATCH
                and depth[0] <= t.configuration.depth <= depth[1]
                and ratio[0] <= t.configuration.dense_ratio < ratio[1] + (ratio[1] == 1.0)
            ]
            collapsed = sum(t.state is TrialState.COLLAPSED for t in inside)
            scores = [
                chance if t.state is TrialState.COLLAPSED else float(np.mean([f.score for f in t.fits if f.score]))
                for t in inside
                if t.fits
            ]
            score = float(np.mean(scores)) if scores else None
            cells.append(MapCell(depth=depth, dense_ratio=ratio, trials=len(inside), collapsed=collapsed, score=score))
    return tuple(cells)
