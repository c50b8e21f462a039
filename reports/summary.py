"""`summary.json`: the machine-readable results. Strict JSON: numbers that are not finite are null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import PurePath
from typing import Any, Final

import numpy as np

from reports.ablation import plain_ablation
from search.records import DataSummary, TestScore, TrialState, Verdict
from search.selection.results import Finalist, Ranked, Recommendation, Results

SCHEMA: Final = 1


def summary(results: Results) -> dict[str, Any]:
    """Return the values of `summary.json` by key, as plain dicts, lists, numbers and text."""
    study = results.study
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "reason": results.reason,
        "data": _data(study.data),
        "settings": study.settings,
        "versions": study.versions,
        "device": study.device,
        "seconds": study.seconds,
        "trials": sum(trial.state is not TrialState.INTERRUPTED for trial in study.trials),
        "fits": {
            "total": sum(results.verdicts.values()),
            **{str(verdict): results.verdicts.get(verdict, 0) for verdict in Verdict},
        },
        "collapse_reasons": results.collapse_reasons,
        "causes": {one.code: {"first": one.first, "named": one.named} for one in results.causes},
        "symptoms": results.symptoms,
        "control": results.control,
        "epochs": asdict(results.epochs),
        "audit": asdict(results.audit),
        "baselines": {name: study.baselines.get(name) for name in ("constant", "knn", "logistic")},
        "finalists": [_finalist(finalist) for finalist in results.finalists],
        "recommended": _recommended(results, results.recommended) if results.recommended else None,
    }
    if results.kinds:
        content["pretraining"] = _pretraining(results)
    if results.study.ablation is not None:
        content["ablation"] = plain_ablation(results)
    plain_content: dict[str, Any] = plain(content)
    return plain_content


def summary_text(results: Results) -> str:
    """Return `summary.json` as text."""
    return json.dumps(summary(results), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """Convert settings or records to values that JSON and YAML know; NaN and infinities become None, others text."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    return str(value.as_posix() if isinstance(value, PurePath) else value)


def _data(data: DataSummary) -> dict[str, Any]:
    return {
        "fingerprint": data.fingerprint,
        "classes": data.classes,
        "images": data.images,
        "quarantined": sorted(data.quarantined),
        "image_size": data.image_size,
    }


def _finalist(finalist: Finalist) -> dict[str, Any]:
    return {
        "trial": finalist.trial.number,
        "configuration": finalist.trial.configuration.as_dict(),
        "R": finalist.robust,
        "mean": finalist.mean,
        "se": finalist.se,
        "worst": finalist.worst,
        "fits": len(finalist.fits),
        "collapse_rate": _collapse_rate(finalist),
        "collapse_upper": finalist.collapse_upper,
        "veto": finalist.veto,
        "healthy": finalist.healthy,
        "complete": finalist.complete,
        "equal": finalist.equal,
        "dropped": finalist.dropped,
    }


def _recommended(results: Results, recommendation: Recommendation) -> dict[str, Any]:
    """Return the recommendation; errors and counts come from its fits on fresh splits if it has any."""
    ranked, promise, finalist = recommendation.ranked, recommendation.promise, recommendation.finalist
    return {
        "configuration": ranked.trial.configuration.as_dict(),
        "metric": results.study.identity.metric,
        "search_mean": ranked.pooled,
        "confirmed_mean": finalist.mean if finalist else None,
        "se": finalist.se if finalist else ranked.se,
        "promise": promise.value,
        "promise_low": promise.low,
        "promise_high": promise.high,
        "inconclusive": promise.inconclusive,
        "images_needed": promise.images_needed,
        "worst_fit": finalist.worst if finalist else ranked.worst,
        "collapse_rate": _collapse_rate(finalist) if finalist else ranked.collapse_rate,
        "fits": len(finalist.fits) if finalist else len(ranked.trial.fits),
        "chance": results.chance,
        "test": tested(results.study.test),
    }


def _pretraining(results: Results) -> dict[str, Any]:
    """Return the best score of each family and of the linear probe; null for what was not scored on all folds."""
    worth, probe = results.pretraining, results.linear_probe
    return {
        "difference": worth.difference if worth else None,
        "se": worth.se if worth else None,
        "clear": worth.is_clear if worth else None,
        "pretrained": _best_of(worth.pretrained, worth.pretrained_judged) if worth else None,
        "scratch": _best_of(worth.scratch, worth.scratch_judged) if worth else None,
        "linear_probe": _best_of(probe.ranked, probe.judged) if probe else None,
    }


def _best_of(ranked: Ranked, judged: int) -> dict[str, Any]:
    return {"trial": ranked.trial.number, "search_mean": ranked.pooled, "se": ranked.se, "best_of": judged}


def _collapse_rate(finalist: Finalist) -> float:
    return finalist.collapsed / len(finalist.fits) if finalist.fits else 0.0


def tested(test: TestScore | None) -> dict[str, Any] | None:
    """Return score and number of images of the test, or None without one."""
    return {"score": test.score, "n": test.n} if test else None
