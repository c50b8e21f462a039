"""Pretrained networks beside networks from scratch: what pretraining is worth, part of Answer and of What matters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from reports.ablation import signed
from reports.configurations import CLASSIFIER_NAMES, layers, origin, short_features
from reports.wording import counted, duration, metric_name, number
from search.selection.results import NetworkKind, Ranked, Results
from spaces.backbones import NO_BACKBONE
from spaces.config import Configuration

_FAR: Final = "very small images, X-rays, textures, or thousands of images far from photographs"


@dataclass(frozen=True, slots=True)
class KindRow:
    """A kind of network (from scratch, or one backbone in one use) as a row of the comparison."""

    name: str
    detail: str  # the configuration with the highest score; empty if none was judged
    trials: int
    collapsed: int
    judged: int
    best: str
    median: str
    time: str


def worth_sentence(results: Results) -> str:
    """Return what pretraining is worth, with the two scores behind it; empty unless the study tried both families."""
    worth, start = results.pretraining, _headline(results)
    if worth is None:
        return f"{start}." if start else ""
    return (
        f"{start}: on the same folds of the search, the best pretrained network has {_scored(worth.pretrained)} and "
        f"the best one from scratch {_scored(worth.scratch)}."
    )


def worth_explanation(results: Results) -> str:
    """Return what the difference may come from if pretraining is not clearly worth something; else an empty text."""
    worth = results.pretraining
    if worth is None or (worth.is_clear and worth.difference > 0):
        return ""
    if worth.is_clear:
        return f"This is usual with {_FAR}: what a network has learned from photographs says little about them."
    return (
        "The difference is within two standard errors, so it may be chance: with few images, even a gain that matters "
        f"can be this uncertain. With {_FAR}, pretraining is often worth nothing."
    )


def kinds_sentence(results: Results) -> str:
    """Return the text above the table of kinds: what pretraining is worth and why, or what is missing to say so."""
    worth, start = results.pretraining, _headline(results)
    if worth is None:
        return f"{start or 'No network from scratch was tried, so what pretraining is worth here is unknown'}."
    compared = (
        f"Compared are the best of {counted(worth.pretrained_judged, 'pretrained network')} that "
        f"{'was' if worth.pretrained_judged == 1 else 'were'} scored on all folds and the best of "
        f"{worth.scratch_judged:,} from scratch."
    )
    return f"{start}. {compared} {worth_explanation(results)}".rstrip()


def _headline(results: Results) -> str:
    """What pretraining is worth, without its full stop; empty unless the study tried both families."""
    is_scratch = {kind.backbone == NO_BACKBONE for kind in results.kinds}
    if len(is_scratch) < 2:
        return ""
    worth = results.pretraining
    if worth is None:
        missing = [
            name
            for name, scratch in (("pretrained network", False), ("network from scratch", True))
            if not any(kind.judged for kind in results.kinds if (kind.backbone == NO_BACKBONE) == scratch)
        ]
        return f"What pretraining is worth here is unknown, as no {' and no '.join(missing)} was scored on all folds"
    metric = metric_name(results.study.identity.metric)
    if worth.is_clear and worth.difference > 0:
        return f"Pretraining is worth {number(worth.difference)} ± {number(worth.se)} {metric} here"
    gain = f"({signed(worth.difference)} ± {number(worth.se)} {metric})"
    verdict = "is worth nothing" if worth.is_clear else "makes no clear difference"
    return f"Pretraining {verdict} here {gain}"


def kind_rows(results: Results) -> list[KindRow]:
    """Return the kinds of networks, the best first."""
    configurations = {one.trial.number: one.trial.configuration for one in results.ranking}
    return [
        KindRow(
            name=_kind_name(one),
            detail=_detail(one.trial, configurations[one.trial]) if one.trial in configurations else "",
            trials=one.trials,
            collapsed=one.collapsed,
            judged=one.judged,
            best="–" if one.best is None else f"{number(one.best)} ± {number(one.se)}",
            median=number(one.median),
            time=duration(one.seconds),
        )
        for one in results.kinds
    ]


def probe_note(results: Results) -> str:
    """Return where the score of the linear probe comes from; empty without one."""
    probe = results.linear_probe
    if probe is None:
        return ""
    best_of = f"best of {probe.judged} in the search, optimistic" if probe.judged > 1 else "the only one in the search"
    configuration = probe.ranked.trial.configuration
    return f"{configuration.backbone}, {short_features(configuration)}; same folds, {best_of}"


def _scored(best: Ranked) -> str:
    return f"{number(best.pooled)} ± {number(best.se)} (trial {best.trial.number})"


def _kind_name(kind: NetworkKind) -> str:
    name = origin(kind.backbone, kind.trainable)
    if kind.is_closed_form:
        return f"{name}, exact classifier"
    return f"{name}, head of layers" if kind.trainable == "frozen" else name


def _detail(trial: int, configuration: Configuration) -> str:
    """The best configuration of a kind in words that are not in the name of the kind."""
    if configuration.is_closed_form:
        what = f"{CLASSIFIER_NAMES[configuration.classifier]}, {short_features(configuration)}"
    elif configuration.backbone == NO_BACKBONE:
        what = layers(configuration)
    else:
        what = counted(configuration.n_dense, "dense layer") if configuration.n_dense else "no dense layer"
    return f"best: trial {trial}, {what}"
