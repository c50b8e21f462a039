"""`best_config.yaml`: the recommendation with everything needed to train it again and to use it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import yaml

from reports.summary import plain, tested
from search.selection.results import Finalist, Recommendation, Results
from search.settings import TrainingProtocol
from spaces.backbones import NO_BACKBONE
from spaces.best_config import SCHEMA
from spaces.config import Configuration


def _training(protocol: TrainingProtocol, configuration: Configuration, white: float | None) -> dict[str, Any]:
    training = protocol.as_stored()
    del training["weights"]
    if configuration.backbone != NO_BACKBONE:
        training["weights"] = dict(protocol.weights)[configuration.backbone]
    if not protocol.images.any_size:
        del training["shapes"]  # not needed for square images
    if white is not None:
        training["white"] = white
    return training


def best_config(results: Results, recommendation: Recommendation) -> dict[str, Any]:
    """Return the values of `best_config.yaml` by key, as plain dicts, lists, numbers and text."""
    study, ranked, promise = results.study, recommendation.ranked, recommendation.promise
    configuration, white = ranked.trial.configuration, study.data.white
    protocol = study.protocol.seen_by(configuration)
    content = {
        "schema": SCHEMA,
        "configuration": {
            "canonical": configuration.canonical(),
            "sampled": configuration.as_dict(),
            "hash": configuration.hash,
        },
        "training": _training(protocol, configuration, white),
        "images": replace(protocol.images, white=white).recipe(),
        "classes": list(study.data.classes),
        "decision_offset": recommendation.offset,
        "metric": study.identity.metric,
        "folds": study.plan.folds,
        "fold_scores": ranked.folds,
        "promise": {
            "value": promise.value,
            "low": promise.low,
            "high": promise.high,
            "stages": promise.stages,
            "inconclusive": promise.inconclusive,
            "images_needed": promise.images_needed,
        },
        "confirmed": _confirmed(recommendation.finalist) if recommendation.finalist else None,
        "search_mean": ranked.pooled,
        "se": recommendation.finalist.se if recommendation.finalist else ranked.se,
        "chance": results.chance,
        "baselines": study.baselines,
        "test": tested(study.test),
        "data": {
            "folder": study.data.folder,
            "fingerprint": study.data.fingerprint,
            "images": study.data.images,
            "groups": study.data.groups,
            **({} if protocol.images == study.protocol.images else _study_format(study.protocol)),
        },
        "versions": study.versions,
        "device": study.device,
        "seed": study.identity.seed,
        "command": study.command,
    }
    plain_content: dict[str, Any] = plain(content)
    return plain_content


def _study_format(protocol: TrainingProtocol) -> dict[str, Any]:
    """The side and the shapes of the study's images, which its fingerprint is made of."""
    shapes = [list(shape) for shape in protocol.images.shapes]
    return {"image_size": protocol.images.image_size, **({"shapes": shapes} if shapes else {})}


def best_config_text(results: Results, recommendation: Recommendation) -> str:
    """Return `best_config.yaml` as text: plain YAML without tags, keys in reading order."""
    body = yaml.safe_dump(best_config(results, recommendation), sort_keys=False, allow_unicode=True, width=100)
    solved = _SOLVED if recommendation.ranked.trial.configuration.is_closed_form else ""
    return f"{_HEAD}{solved}{body}"


def _confirmed(finalist: Finalist) -> dict[str, Any]:
    """Return the scores of the fits on fresh splits with fresh seeds."""
    return {
        "mean": finalist.mean,
        "se": finalist.se,
        "robust": finalist.robust,
        "worst": finalist.worst,
        "scores": finalist.scores,
        "collapsed": finalist.collapsed,
        "collapse_upper": finalist.collapse_upper,
    }


_HEAD: Final = """\
# The recommended configuration. "promise" is the score to expect on new images; "confirmed" are its fits on fresh
# splits; "search_mean" is its search score, pooled over the folds, which is too high because it is the best of many.
# "classes" are in the order of the network's outputs.
"""

_SOLVED: Final = """\
# The classifier is solved exactly: only the settings under "canonical" matter; the other values under "sampled", and
# the epochs, have no effect.
"""
