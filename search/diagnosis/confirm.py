"""Search for a change that makes the network learn, by training it with one change after the other. Pure control flow.

A change is confirmed if the changed network learns with at least two more seeds than the unchanged network does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final, Protocol

from search.diagnosis.changes import Change, joined
from search.diagnosis.evidence import DiagnosisFit, Fix

NEAR: Final = 0.04  # balanced accuracy above chance from which a change is tried with further seeds
PAIRED: Final = 5  # number of changes that are combined in pairs


class ChangeTrainer(Protocol):
    """Trains the network with or without a change."""

    def __call__(self, change: Change | None, seed: int) -> DiagnosisFit:
        """Fit the network once with this seed and change; None: the network is unchanged."""


@dataclass(slots=True)
class Attempt:
    """A change that is tried, and its fits so far, one per seed."""

    change: Change
    runs: list[DiagnosisFit] = field(default_factory=list)

    @property
    def scores(self) -> tuple[float, ...]:
        """Balanced accuracy of each fit, in the order of `runs`."""
        return tuple(run.score for run in self.runs)

    @property
    def wins(self) -> int:
        """Number of fits that learned."""
        return sum(run.learned for run in self.runs)


@dataclass(frozen=True, slots=True)
class FixSearchResult:
    """Result of the search for a fix."""

    attempts: tuple[Attempt, ...]  # in the order in which they were made
    confirmed: Attempt | None  # the attempt whose change is confirmed, one of `attempts`
    complete: bool  # False: time ran out before all changes were tried


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

    Each change is tried with one seed; if the network learns, the other seeds follow at once. Then changes that scored
    above chance are tried with the other seeds, then pairs of the changes in `combine`.

    Args:
        changes: changes to try, the likeliest first.
        unchanged: fits of the unchanged network, one per seed; at least one.
        trainer: fits the network with a change and a seed.
        chance: balanced accuracy of guessing, 0..1.
        has_time: returns whether another fit may begin.
        combine: changes to combine in pairs, the likeliest first.
    """
    seeds = [run.seed for run in sorted(unchanged, key=lambda run: run.learned)]  # a failing seed first
    needed = 2 + sum(run.learned for run in unchanged)
    attempts: list[Attempt] = []

    def settle(attempt: Attempt) -> bool:
        """Fit with the other seeds until the change is confirmed or can't be any more; return whether it is."""
        for seed in seeds[len(attempt.runs) :]:
            open_seeds = len(seeds) - len(attempt.runs)
            if attempt.wins >= needed or attempt.wins + open_seeds < needed or not has_time():
                break
            attempt.runs.append(trainer(attempt.change, seed))
        return attempt.wins >= needed

    def sweep(candidates: Iterator[Change]) -> Attempt | None:
        for change in candidates:
            if not has_time():
                return None
            attempt = Attempt(change, [trainer(change, seeds[0])])
            attempts.append(attempt)
            if attempt.runs[0].learned and settle(attempt):
                return attempt
        return None

    winner = sweep(iter(changes))
    if winner is None:
        near = sorted((a for a in attempts if _near(a, chance)), key=lambda a: -a.runs[0].score)
        winner = next((attempt for attempt in near if has_time() and settle(attempt)), None)
    if winner is None:
        pairs = sorted(combinations(range(min(PAIRED, len(combine))), 2), key=sum)
        winner = sweep(joined(combine[a], combine[b]) for a, b in pairs if combine[a].code != combine[b].code)
    return FixSearchResult(tuple(attempts), winner, winner is not None or has_time())


def _near(attempt: Attempt, chance: float) -> bool:
    return not attempt.runs[0].learned and attempt.runs[0].error is None and attempt.runs[0].score > chance + NEAR


def fix_of(attempt: Attempt, unchanged: Sequence[DiagnosisFit], *, confirmed: bool) -> Fix:
    """Convert an attempt to a `Fix` record.

    Args:
        attempt: the change and its fits.
        unchanged: fits of the unchanged network, with the seeds of the attempt and maybe more.
        confirmed: whether the change is confirmed.

    Raises:
        KeyError: the unchanged network was not fitted with a seed of the attempt.
    """
    before = {run.seed: run.score for run in unchanged}
    seeds = tuple(run.seed for run in attempt.runs)
    change = attempt.change
    return Fix(
        code=change.code, change=change.lines, summary=change.summary, size=change.size,
        before=tuple(before[seed] for seed in seeds), after=attempt.scores, seeds=seeds, confirmed=confirmed,
    )  # fmt: skip
