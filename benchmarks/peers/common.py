"""What the runners of the arms share: images, scores, the record that each writes. Needs nothing of ours.

A runner is called as `python RUNNER.py TRAIN TEST SIDE SECONDS SEED OUT.json`, with folders of class folders.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image, ImageOps
from sklearn.metrics import balanced_accuracy_score

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}


class TimeUp(BaseException):
    """Passes through a tuner that takes exceptions for failed trials."""


@dataclass
class Arena:
    """What a runner is given, and when it began."""

    train: np.ndarray  # (n, side, side, 3) uint8
    labels: np.ndarray  # (n,)
    test: np.ndarray
    test_labels: np.ndarray
    classes: list[str]
    seconds: float
    seed: int
    out: Path
    began: float = field(default_factory=time.monotonic)

    @property
    def spent(self) -> float:
        return time.monotonic() - self.began

    def scored(self, probabilities: np.ndarray) -> dict[str, Any]:
        """Balanced accuracy on the test images, how many classes are predicted at all, and which images rightly."""
        said = probabilities.argmax(axis=1)
        score = balanced_accuracy_score(self.test_labels, said)
        right = "".join("1" if one else "0" for one in said == self.test_labels)
        return {"bal_acc": float(score), "distinct_predictions": len(np.unique(said)), "right": right}

    def write(self, peer: str, seconds: float, promise: float | None, tests: list[dict[str, Any]], **more: Any) -> None:
        """The runner's record: `seconds` are those of its search alone, `promise` is what it says of its own choice."""
        packages = ("tensorflow", "keras", "optuna", "keras-tuner", "autokeras", "scikit-learn")
        record = {
            "peer": peer,
            "seconds": round(seconds, 1),
            "promise": promise,
            "tests": tests,
            "counts": np.bincount(self.test_labels, minlength=len(self.classes)).tolist(),
            "versions": {name: version for name in packages if (version := _version(name))},
            **more,
        }
        self.out.write_text(json.dumps(record))


def _version(package: str) -> str:
    """Empty if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def arena(*, imports_count: bool = False) -> Arena:
    """From the command line. The clock starts here, or with `imports_count` when the process started."""
    train, test, side, seconds, seed, out = sys.argv[1:7]
    began = time.monotonic() - (_age() if imports_count else 0.0)
    classes = sorted(path.name for path in Path(train).iterdir() if path.is_dir())
    images, labels = _read(Path(train), classes, int(side))
    others, other_labels = _read(Path(test), classes, int(side))
    return Arena(images, labels, others, other_labels, classes, float(seconds), int(seed), Path(out), began)


def _age() -> float:
    """Seconds since the process started."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def _read(folder: Path, classes: list[str], side: int) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).rglob("*")):
            if path.suffix.lower() in ENDINGS:
                try:
                    with Image.open(path) as opened:
                        upright = ImageOps.exif_transpose(opened).convert("RGB")
                        images.append(np.asarray(upright.resize((side, side), Image.Resampling.BILINEAR)))
                except OSError:
                    continue
                labels.append(label)
    return np.stack(images), np.array(labels)
