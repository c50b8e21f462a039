"""Checkpoint of a fit between two epochs: a resumed fit ends bit by bit as if it had not been interrupted.

It holds no state of random generators, since every epoch has a seed of its own.
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

    epoch: int  # number of finished epochs
    microbatch_size: int  # images of a forward pass in training
    last: int  # epoch after which the fit ends
    cool_from: int | None  # epoch after which the learning rate began to cool early; None: not so far
    seconds: float  # duration of the fit so far
    epoch_seconds: tuple[float, ...]  # duration of each finished epoch
    checks: Sequence[Check]  # checks so far
    audited_collapse: Collapse | None  # first collapse that did not end the fit, because it is audited
    start: dict[str, float]  # measurements of the untrained network
    since: tuple[EpochSums, ...]  # measurements of the epochs since the last check, without their layer probes
    layers: FloatArray  # (1 + checks, weight layers, signals), before training and at each check
    shares: FloatArray  # (checks, K), share of each class among the predictions
    probabilities: FloatArray  # (v, K) of the validation images at the last check; v = 0 before the first check
    trainer: tuple[np.ndarray[Any, Any], ...]  # result of `Trainer.state`

    def write(self, path: Path) -> None:
        """Write the checkpoint to `path` (`.npz`) atomically: readers see the old file or the new one.

        Raises:
            OSError: the file can't be written; an earlier file is unchanged.
        """
        plain = {name: getattr(self, name) for name in ("epoch", "last", "cool_from", "seconds", "start")}
        plain["at_once"] = self.microbatch_size
        plain["form"] = _FORM
        plain["passed"] = None if self.audited_collapse is None else asdict(self.audited_collapse)
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
        """Read a checkpoint; None if the file is missing, damaged or of another version (logged as a warning)."""
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                plain = json.loads(str(stored["plain"]))
                if (form := plain.pop("form", None)) != _FORM:
                    raise ValueError(f"it has the file version {form}, expected {_FORM}")
                audited_collapse = plain.pop("passed")
                trainer = [name for name in stored.files if name.startswith("trainer_")]
                return cls(
                    microbatch_size=plain.pop("at_once"),
                    **plain,
                    audited_collapse=None if audited_collapse is None else Collapse(**audited_collapse),
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
            _log.warning("The checkpoint %s can't be used (%s); its fit starts again.", path, error)
            return None


class CheckpointStore:
    """Checkpoint file of one fit, written every five seconds or less often.

    Args:
        path: the file; its folder is created when the first checkpoint is saved, its parent must exist.
        now: returns the time in seconds; tests replace it.
    """

    def __init__(self, path: Path, now: Any = time.monotonic) -> None:
        self._path, self._now = path, now
        self._due = now() + _EVERY_SECONDS

    @property
    def is_due(self) -> bool:
        """Whether enough time has passed since the last checkpoint to save another one."""
        return bool(self._now() >= self._due)

    def load(self) -> Checkpoint | None:
        """Return the checkpoint; None if there is none, or it can't be used."""
        return Checkpoint.read(self._path)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint in place of the last one. Never raises: a failure is logged as a warning."""
        started = self._now()
        try:
            checkpoint.write(self._path)
        except OSError as error:
            _log.warning(
                "No checkpoint can be saved in %s (%s). The fit goes on.",
                self._path.parent,
                error,
            )
        ended = self._now()
        self._due = ended + max(_EVERY_SECONDS, (ended - started) / _WRITING_SHARE)

    def clear(self) -> None:
        """Delete the file, and its folder if it is empty. Call this when the fit has ended."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
            self._path.parent.rmdir()  # unless another fit's lies there
