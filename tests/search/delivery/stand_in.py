"""Training and prediction without TensorFlow: a worker that answers at once, and the files that it needs."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from search.arrays import FloatArray
from search.delivery import card as cards
from search.delivery.card import Card
from search.delivery.worker_tasks import BuildModel, PredictImages, ReadShapes, SaveNetwork
from search.records import FitOutcome, Verdict
from search.training.job import FitJob
from search.workers.protocol import WorkerReady
from tests.factories import configuration
from tests.stand_ins import outcome

Answer = Callable[[FitJob], FitOutcome]


def write_keras(path: Path) -> Path:
    """What counts as a Keras archive."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    return path


def write_model(path: Path, card: Card, likeness: bytes | None = None) -> Path:
    cards.put_in(write_keras(path), card, likeness)
    return path


def write_config(path: Path, **changes: Any) -> Path:
    """A `best_config.yaml`; a change of None takes a key out, dots go into sections."""
    chosen = configuration(batch_size=4)
    content: dict[str, Any] = {
        "schema": 1,
        "configuration": {"canonical": chosen.canonical(), "sampled": chosen.as_dict(), "hash": chosen.hash},
        "training": {
            "epochs": 5,
            "image_size": 8,
            "channels": 1,
            "classes": 2,
            "precision": "float32",
            "engine": 1,
        },
        "classes": ["bolt", "nut"],
        "decision_offset": [0.5, -0.5],
        "metric": "balanced_accuracy",
        "folds": 3,
        "promise": {"value": 0.8},
        "data": {"folder": "images", "fingerprint": "0" * 16, "images": 24, "groups": None},
        "seed": 7,
    }
    for key, value in changes.items():
        section, name = content, key
        while "__" in name:
            first, _, name = name.partition("__")
            section = section[first]
        section[name] = value
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def brightness(pixels: np.ndarray) -> FloatArray:
    """What the stand-in model says: the second class's probability is the mean brightness."""
    share = pixels.mean(axis=(1, 2, 3)) / 255
    return np.stack([1 - share, share], axis=1).astype(np.float32)


class StandIn:
    """Stands for a pool and for its only worker."""

    ready = WorkerReady("CPU", False, {"tensorflow": "none", "keras": "none"}, 0.0)

    def __init__(self, answer: Answer = outcome, shape: tuple[int, ...] = (8, 8, 1)) -> None:
        self.answer, self.shape = answer, shape
        self.jobs: list[FitJob] = []
        self.tasks: list[Any] = []
        self.closed = False

    def __call__(self, resources: Sequence[Any], should_stop: Callable[[], bool]) -> StandIn:
        return self

    def set_data(self, data: object) -> None: ...

    @contextmanager
    def worker(self) -> Iterator[StandIn]:
        yield self

    def start(self) -> None: ...

    def run(self, job: FitJob, on_check: object = None, *, alone: bool = False) -> FitOutcome:
        self.jobs.append(job)
        return self.answer(job)

    def run_task(self, task: Any) -> Any:
        self.tasks.append(task)
        match task:
            case SaveNetwork(path):
                path.touch()
            case BuildModel(members, _, target):
                assert all(member.exists() for member in members)
                write_keras(target)
                return 1234
            case ReadShapes():
                return self.shape, (2,)
            case PredictImages(_, pixels):
                return brightness(pixels)
        return None

    def close(self) -> None:
        self.closed = True


def collapsing(times: int) -> Answer:
    """Collapses so many times, then learns."""
    left = [times]

    def answer(job: FitJob) -> FitOutcome:
        left[0] -= 1
        return outcome(job, Verdict.COLLAPSED, "constant-output") if left[0] >= 0 else outcome(job)

    return answer
