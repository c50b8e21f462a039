"""User attributes of Optuna's trials, and what they say of a trial.

A trial's place (attribute `place`) is its number in everything we write. Optuna's own numbers also count interrupted
trials; places do not, so that a study that was killed five times reads like one that was not.
"""

from __future__ import annotations

from typing import Final

import optuna
from optuna.trial import FrozenTrial, TrialState

from search import records
from spaces.config import Configuration

PLACE: Final = "place"
REASON: Final = "reason"  # why it collapsed or was stopped
EVIDENCE: Final = "evidence"  # the numbers behind the reason
SECONDS: Final = "seconds"
START: Final = "start"  # hash of an enqueued configuration; missing where the sampler proposed it
CONFIGURATION: Final = "configuration"  # every field: Optuna's parameters lack those that the space fixes
STATE: Final = "state"  # our own word for how it ended, richer than Optuna's: a value of `records.TrialState`
LOSSES: Final = "losses"  # (count, fold): how often a process or a host was lost in the same fold, and which fold

_MOST_LOSSES: Final = 8


def place_of(trial: FrozenTrial) -> int:
    """The trial's place; Optuna's number where it has none yet, as in a study that several hosts share."""
    return int(trial.user_attrs.get(PLACE, trial.number))


def configuration_hash(trial: FrozenTrial) -> str:
    """The hash of the trial's configuration, the same for equal networks."""
    return Configuration(**trial.user_attrs[CONFIGURATION]).hash


def is_interrupted(trial: FrozenTrial) -> bool:
    """Whether the trial was cut off by the end of a process or a host: it does not count and is tried again.

    A trial that failed by itself has the state `failed`; all others reach Optuna with another state than FAIL.
    """
    return trial.state == TrialState.FAIL and trial.user_attrs.get(STATE) != records.TrialState.FAILED.value


def is_done(trial: FrozenTrial) -> bool:
    """Whether the trial counts: it ended, and not by an interruption."""
    return trial.state.is_finished() and not is_interrupted(trial)


def count_done(study: optuna.Study) -> int:
    """The number of trials that count."""
    return sum(map(is_done, study.get_trials(deepcopy=False)))


def is_used_up(study: optuna.Study, trials: int | None) -> bool:
    """Whether `trials` trials are done; False for None, which is no limit."""
    return trials is not None and count_done(study) >= trials


def deadly_fold(trial: optuna.Trial) -> int | None:
    """The fold in which a process or a host was lost eight times in a row with this trial, or None.

    Where a whole container is killed for lack of memory, nobody is left to report it: without a limit, the trial would
    take down every process that goes on with the study.
    """
    losses, fold = trial.user_attrs.get(LOSSES, (0, 0))
    return int(fold) if losses >= _MOST_LOSSES else None
