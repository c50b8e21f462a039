"""Numbers, names and reasons as text, the same in the reports, the live display and the log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import PurePath
from typing import Final

from search.fit_checks import REASONS
from search.metric_definitions import METRICS
from search.records import DataSummary, TrialState
from search.selection.results import Control

_PLAIN_NAMES: Final[Mapping[str, str]] = {
    "n_conv": "convolutions",
    "n_dense": "dense layers",
    "dense_ratio": "dense share",
    "head": "pooling",
    "width": "first filters",
    "backbone": "pretrained network",
    "trainable": "trainable part",
    "statistics": "BatchNorm statistics",
    "backbone_rate": "relative rate of the pretrained network",
}

_COMMON_FOLDERS: Final = ("train", "training", "images", "data")

STATE_WORDS: Final[Mapping[TrialState, str]] = {
    TrialState.COMPLETE: "scored on all folds",
    TrialState.COLLAPSED: "collapsed",
    TrialState.RACED: "stopped early",
    TrialState.FAILED: "failed",
    TrialState.INTERRUPTED: "interrupted",
}


def shown(text: str) -> str:
    """Return `text` with every character that is not printable escaped, since file names may contain anything.

    >>> shown("a\\x1b[31m")
    'a\\\\x1b[31m'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with a fixed number of decimals; a dash for None, NaN and infinity."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def whole(value: int) -> str:
    """Return a count with commas between the thousands."""
    return f"{value:,}"


def compact(value: object) -> str:
    """Return a hyperparameter's value in short: floats with three significant digits, booleans as yes and no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def plain_name(hyperparameter: str) -> str:
    """Return the readable name of a hyperparameter: `learning rate`."""
    return _PLAIN_NAMES.get(hyperparameter, hyperparameter.replace("_", " "))


def percent(share: float | None) -> str:
    """Return a share (0 .. 1) as a percentage, with one decimal below 10 %."""
    if share is None or not math.isfinite(share):
        return "–"
    return f"{100 * share:.1f} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"


def duration(seconds: float | None) -> str:
    """Return seconds as readable text.

    >>> duration(8), duration(125), duration(29000)
    ('8 s', '2 min 05 s', '8 h 03 min')
    """
    if seconds is None or not math.isfinite(seconds):
        return "–"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def moment(seconds: float) -> str:
    """Return a moment (seconds since 1970) in local time: `Mon 23 Nov 22:00`."""
    return datetime.fromtimestamp(seconds).strftime("%a %d %b %H:%M")


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun: `1 image`, `2 images`.

    Args:
        count: the number, written with commas between the thousands.
        noun: the singular.
        plural: the plural, if it is not the singular with an s.
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {plural or noun + 's'}"


def listed(parts: Sequence[str]) -> str:
    """Join texts as a list: `a`, `a and b`, `a, b and c`."""
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)


def folder_title(folder: str) -> str:
    """Return a short name of a data folder; a common name such as `train` is preceded by that of its parent.

    >>> folder_title("/data/moles"), folder_title("/data/moles/train")
    ('moles', 'moles/train')
    """
    parts = [part for part in PurePath(folder).parts if part not in ("/", ".", "..")]
    return shown("/".join(parts[-2:] if parts and parts[-1] in _COMMON_FOLDERS else parts[-1:])) or shown(folder)


def report_title(folder: str) -> str:
    """Return the heading of the report of a search.

    >>> report_title("/data/moles")
    'Search on moles/'
    """
    return f"Search on {folder_title(folder).rstrip('/')}/"


def headed(text: str) -> str:
    """Return `text` with a capital first letter and the rest unchanged."""
    return text[:1].upper() + text[1:]


def reason(code: str) -> str:
    """Return the description of a reason by its code; the code itself if it has none."""
    return REASONS.get(code, code)


def evidence_text(evidence: Mapping[str, float | str]) -> str:
    """Return the evidence for a cause as text: `learning rate 0.3, update ratio 0.21`."""
    return ", ".join(f"{name.replace('_', ' ')} {compact(value)}" for name, value in evidence.items())


def control_sentence(control: Control, metric: str) -> str:
    """Return whether the networks or the labels are to blame, by the comparison with shuffled labels."""
    comparison = (
        f"The best configuration has an area under the ROC curve of {number(control.auc, 2)} on held-out images; with "
        f"shuffled labels the best has {number(control.shuffled_auc, 2)} (p = {control.p_value:.2g})."
    )
    baseline = f"The best simple method has a score of {number(control.baseline, 2)} ({metric_name(metric)})."
    conclusion = {
        "networks": "So the images contain information about their labels. Look for the fault in the networks and "
        "their training before you look at the data.",
        "labels": "So the labels predict no better than random ones. Check the images and their labels first.",
        "unknown": "There are too few images to tell whether the data or the networks are at fault. Add more images.",
    }[control.suspect]
    return f"{comparison} {baseline} {conclusion}"


def seen_at(data: DataSummary) -> str:
    """Return the image size that the networks see, as the beginning of a sentence."""
    if data.shapes:
        return f"The networks see {counted(len(data.shapes), 'shape')} of up to {data.image_size} pixels"
    return f"The networks see {data.image_size} x {data.image_size} pixels"


def metric_name(metric: str) -> str:
    """Return the readable name of a metric, such as `area under the ROC curve`; `metric` itself if it has none."""
    return METRICS[metric].title if metric in METRICS else metric
