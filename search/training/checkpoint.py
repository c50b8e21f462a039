"""A fit between two epochs, as a file from which it resumes bit by bit as if it had not been interrupted.

No state of a random generator is in it, since every epoch draws from a seed of its own.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from search.arrays import FloatArray
from search.fit_checks import Check, Checks, Collapse
from search.training.epoch import EpochSums

_FORM: Final = 2  # version of the file: raised when the same arrays would mean something else
_EVERY_SECONDS: Final = 5.0  # between two checkpoints, at least
_WRITING_SHARE: Final = 0.02  # of the time, at most

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """The state of a fit after some epochs."""

    epoch: int  # finished epochs
    microbatch_size: int  # images of a forward pass in training
    last: int  # epoch after which the fit will end
    cool_from: int | None  # epoch after which the learning rate cools early
    seconds: float  # of training so far
    epoch_seconds: tuple[float, ...]
    checks: Sequence[Check]
    passed: Collapse | None  # the stop that an audit let pass
    start: dict[str, float]
    since: tuple[EpochSums, ...]  # of the epochs since the last check, without their layer probes
    layers: FloatArray  # (1 + checks, weight layers, signals)
    shares: FloatArray  # (checks, K)
    probabilities: FloatArray  # (m, K), m 0 or the validation images
    trainer: tuple[np.ndarray[Any, Any], ...]  # `Trainer.state`: weights, optimizer

    def write(self, path: Path) -> None:
        """Replace the file atomically: a reader finds the earlier checkpoint or this one.

        Raises:
            OSError: the file can't be written; the earlier one is unharmed.
        """
        plain = {name: getattr(self, name) for name in ("epoch", "last", "cool_from", "seconds", "start")}
        plain["at_once"] = self.microbatch_size
        plain["form"] = _FORM
        plain["passed"] = None if self.passed is None else asdict(self.passed)
        arrays = {
            "plain": np.array(json.dumps(plain)),
            "epoch_seconds": np.array(self.epoch_seconds),
            "checks": Checks.of(self.checks).table,
            "since": np.array([astuple(sums)[:-1] for sums in self.since], np.float64).reshape(-1, 5),
            "layers": self.layers,
            "shares": self.shares,
            "probabilities": self.probabilities,
            **{f"trainer_{place}": values for place, values in enumerate(self.trainer)},
        }
        path.parent.mkdir(exist_ok=True)
        draft = path.with_suffix(".part")
        try:
            with draft.open("wb") as stream:
                np.savez(stream, allow_pickle=False, **arrays)
            draft.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise

    @classmethod
    def read(cls, path: Path) -> Checkpoint | None:
        """Read the file; None where there is none, or none that can be used."""
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                plain = json.loads(str(stored["plain"]))
                if (form := plain.pop("form", None)) != _FORM:
                    raise ValueError(f"written in the form {form}, not {_FORM}")
                passed = plain.pop("passed")
                trainer = [name for name in stored.files if name.startswith("trainer_")]
                return cls(
                    microbatch_size=plain.pop("at_once"),
                    **plain,
                    passed=None if passed is None else Collapse(**passed),
                    epoch_seconds=tuple(stored["epoch_seconds"].tolist()),
                    checks=tuple(Checks(stored["checks"])),
                    since=tuple(
                        EpochSums(loss, first, last, ratio, bool(finite))
                        for loss, first, last, ratio, finite in stored["since"].tolist()
                    ),
                    layers=stored["layers"],
                    shares=stored["shares"],
                    probabilities=stored["probabilities"],
                    trainer=tuple(stored[f"trainer_{place}"] for place in range(len(trainer))),
                )
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever a damaged archive makes its readers raise
            _log.warning("The checkpoint %s can't be used (%s): its fit starts again.", path, error)
            return None


class CheckpointStore:
    """The checkpoint file of one fit.

    Args:
        path: of the file; its folder is made when it is first written.
        now: returns the time in seconds.
    """

    def __init__(self, path: Path, now: Any = time.monotonic) -> None:
        self._path, self._now = path, now
        self._due = now() + _EVERY_SECONDS

    @property
    def is_due(self) -> bool:
        """Whether enough time has passed since the last checkpoint for another one."""
        return bool(self._now() >= self._due)

    def load(self) -> Checkpoint | None:
        """Return the checkpoint; None where there is none, or none that can be used."""
        return Checkpoint.read(self._path)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint in place of the last one. A failure is logged, and the fit goes on."""
        started = self._now()
        try:
            checkpoint.write(self._path)
        except OSError as error:
            _log.warning("No checkpoint can be saved in %s: %s", self._path.parent, error)
        ended = self._now()
        self._due = ended + max(_EVERY_SECONDS, (ended - started) / _WRITING_SHARE)

    def clear(self) -> None:
        """Remove the file: the fit has ended."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
            self._path.parent.rmdir()  # unless another fit's lies there
