"""Search for the change that makes the network learn, by real fits, the likeliest change first. Pure control flow.

A change is confirmed when the network learns with it in at least two of three seeds and without it, with the same
seeds, in none; where the unchanged network learns now and then, the change has to learn in at least two more of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final, Protocol

from search.diagnosis.changes import Change, joined
from search.diagnosis.evidence import DiagnosisFit, Fix

NEAR: Final = 0.04  # above chance: not learned with the first seed, but worth another
PAIRED: Final = 5  # causes that are combined with each other


class ChangeTrainer(Protocol):
    """Trains the network, changed or not."""

    def __call__(self, change: Change | None, seed: int) -> DiagnosisFit:
        """Fit the network with this change, or unchanged, and this seed."""


@dataclass(slots=True)
class Attempt:
    """A change and its fits."""

    change: Change
    runs: list[DiagnosisFit] = field(default_factory=list)

    @property
    def scores(self) -> tuple[float, ...]:
        """Scores of the fits, in the order of their seeds."""
        return tuple(run.score for run in self.runs)

    @property
    def wins(self) -> int:
        """Number of fits that learned."""
        return sum(run.learned for run in self.runs)


@dataclass(frozen=True, slots=True)
class FixSearchResult:
    """Changes that were tried, and the one that is confirmed."""

    trials: tuple[Attempt, ...]  # in the order in which they were tried
    confirmed: Attempt | None
    complete: bool  # all changes were tried, or one is confirmed


def find_fix(
    changes: Sequence[Change],
    unchanged: Sequence[DiagnosisFit],
    trainer: ChangeTrainer,
    *,
    chance: float,
    has_time: Callable[[], bool],
    combine: Sequence[Change] = (),
) -> FixSearchResult:
    """Try changes until one is confirmed or the time is up.

    First each change with one seed; one that learns is tried with the others at once. Then those that came near with
    their other seeds. Then pairs of `combine`.

    Args:
        changes: the likeliest first.
        unchanged: fits of the network as it is, one a seed.
        trainer: makes a fit.
        chance: balanced accuracy of guessing.
        has_time: whether another fit may begin.
        combine: changes worth combining, the likeliest first.
    """
    seeds = [run.seed for run in sorted(unchanged, key=lambda run: run.learned)]  # a failing seed first
    needed = 2 + sum(run.learned for run in unchanged)
    trials: list[Attempt] = []

    def settle(trial: Attempt) -> bool:
        """Run the other seeds until the trial has won or can't win any more."""
        for seed in seeds[len(trial.runs) :]:
            open_seeds = len(seeds) - len(trial.runs)
            if trial.wins >= needed or trial.wins + open_seeds < needed or not has_time():
                break
            trial.runs.append(trainer(trial.change, seed))
        return trial.wins >= needed

    def sweep(candidates: Iterator[Change]) -> Attempt | None:
        for change in candidates:
            if not has_time():
                return None
            trial = Attempt(change, [trainer(change, seeds[0])])
            trials.append(trial)
            if trial.runs[0].learned and settle(trial):
                return trial
        return None

    winner = sweep(iter(changes))
    if winner is None:
        near = sorted((t for t in trials if _near(t, chance)), key=lambda t: -t.runs[0].score)
        winner = next((trial for trial in near if has_time() and settle(trial)), None)
    if winner is None:
        pairs = sorted(combinations(range(min(PAIRED, len(combine))), 2), key=sum)
        winner = sweep(joined(combine[a], combine[b]) for a, b in pairs if combine[a].code != combine[b].code)
    return FixSearchResult(tuple(trials), winner, winner is not None or has_time())


def _near(trial: Attempt, chance: float) -> bool:
    return not trial.runs[0].learned and trial.runs[0].error is None and trial.runs[0].score > chance + NEAR


def fix_of(trial: Attempt, unchanged: Sequence[DiagnosisFit], *, confirmed: bool) -> Fix:
    """Write an attempt as a record.

    Args:
        trial: the change with its fits.
        unchanged: fits of the network as it is, with at least the same seeds.
        confirmed: whether the change is the confirmed one.
    """
    before = {run.seed: run.score for run in unchanged}
    seeds = tuple(run.seed for run in trial.runs)
    change = trial.change
    return Fix(
        code=change.code, change=change.lines, summary=change.summary, size=change.size,
        before=tuple(before[seed] for seed in seeds), after=trial.scores, seeds=seeds, confirmed=confirmed,
    )  # fmt: skip
