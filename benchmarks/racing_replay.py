"""How many epochs does a search need for the same choice? Studies replayed on whole trainings.

Against a study that runs everything: collapse rules, fits ended early by their training loss, racing over folds, and
rungs on the first fold, one added to the other. In random orders, and as the product goes: its own first configurations
first, which no rung ends, then the others in random orders. Regret is what the choice is worse than the best, both by
their whole trainings on all folds, in the metric.

    python -m benchmarks.racing_replay [--runs benchmarks/full_runs.npz] [--orders 200] [--data NAME ...]
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.full_runs import FIRST, FOLDS, PACKED, Run, load
from benchmarks.machine import machine
from search.collapse.audit import is_audited
from search.collapse.limits import DEFAULT_LIMITS
from search.fit_checks import HARD_REASONS
from search.selection import racing, successive_halving
from search.training.lr_schedule import missed_bar

ARMS: Final = ("everything", "+ collapse rules", "+ early end", "+ fold racing", "+ rungs")
CONFIGURATIONS: Final = 40  # of a study
LEAST: Final = 20  # configurations that a set must have runs of


@dataclass(frozen=True, slots=True)
class Played:
    """A study of some arm."""

    epochs: int
    chosen: int | None  # the configuration's number


def play(
    order: Sequence[int],
    runs: Mapping[int, Sequence[Run]],
    arm: int,
    chance: float,
    spared: Collection[int] = (),
    seed: int = 0,
) -> Played:
    """One study: configurations in this order, each with its fits by fold; the first `arm` savings are on.

    Rungs end no fit of those in `spared`. As in a search, nothing is stopped softly in the first trials, and by the
    seed some stops are let pass.
    """
    epochs = 0
    complete: dict[int, list[float]] = {}
    reached: list[successive_halving.Reached] = []
    for place, number in enumerate(order):
        done: list[float] = []
        lost = False
        for run in runs[number]:
            fit = run.shortened if arm >= 2 and run.shortened is not None else run
            if arm >= 1 and _is_stopped(run, fit.epochs, place, seed):
                assert run.caught is not None
                reason, epoch = run.caught
                tries = 1 if reason in HARD_REASONS else 2  # a soft collapse gets a second seed
                epochs += tries * epoch
                lost = True
                if run.fold == 0:
                    seen = [(c.epoch, c.val_skill) for c in fit.checks if c.epoch <= epoch]
                    reached.append(successive_halving.reached(seen, run.planned))
                break
            if arm >= 4 and run.fold == 0:
                curve = tuple((check.epoch, check.val_skill) for check in fit.checks)
                fallen = None if number in spared else _fallen(fit, successive_halving.bars(reached, run.planned))
                if fallen is not None:
                    curve = tuple(point for point in curve if point[0] <= fallen)
                elif curve:
                    curve = (*curve, (run.planned, curve[-1][1]))
                reached.append(successive_halving.reached(curve, run.planned))
                if fallen is not None:
                    epochs += fallen
                    lost = True
                    break
            epochs += fit.epochs
            done.append(fit.score if fit.verdict == "learned" else chance)
            best = max(complete.values(), key=np.mean, default=[])
            spread = racing.residual_spread(np.array(list(complete.values()))) if len(complete) > 1 else None
            if arm >= 3 and racing.should_stop(done, best, spread) is not None:
                lost = True
                break
        if not lost:
            complete[number] = done
    return Played(epochs, max(complete, key=lambda number: np.mean(complete[number]), default=None))


def _is_stopped(run: Run, epochs: int, place: int, seed: int) -> bool:
    """Whether a collapse rule ends the fit of the trial in this place."""
    if run.caught is None or run.caught[1] > epochs:
        return False
    calibrates = place < DEFAULT_LIMITS.calibration_trials and run.caught[0] not in HARD_REASONS
    return not calibrates and not is_audited(seed, str(run.number), 0, run.fold)


def _fallen(run: Run, bars: successive_halving.Bars) -> int | None:
    """The epoch at which a bar ends the fit; None if none does."""
    for count in range(1, len(run.checks)):  # at the last check there is nothing to save
        if missed_bar(run.checks[:count], bars) is not None:
            return run.checks[count - 1].epoch
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=PACKED)
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--data", action="append", help="all without")
    options = parser.parse_args()
    print(machine("numpy"))
    runs = load(options.runs)
    for what, starts in (("random orders", ()), ("the product's first ones first", FIRST)):
        print(f"{what}\n{'':24}{'arm':20} epochs   regret (worst)   same choice")
        rows = []
        for name in options.data or sorted({run.data for run in runs}):
            own: dict[int, list[Run]] = {}
            for run in runs:
                if run.data == name:
                    own.setdefault(run.number, []).append(run)
            own = {number: sorted(fits, key=lambda run: run.fold) for number, fits in own.items() if len(fits) == FOLDS}
            if len(own) >= LEAST:
                rows.append(list(_arms(name, own, list(starts), options.orders)))
        for arm, whole in enumerate(zip(*rows, strict=True)):
            share, regret = np.mean(whole, axis=0)
            print(f"{'mean of the sets':24}{ARMS[arm]:20} {share:6.1%}   {regret:.4f}")


def _arms(
    name: str, own: Mapping[int, Sequence[Run]], starts: Sequence[int], orders: int
) -> Iterator[tuple[float, float]]:
    """Share of the epochs and mean regret of each arm on a set; printed too."""
    chance = 1 / next(iter(own.values()))[0].probabilities.shape[1]
    truth = {number: float(np.mean([run.score for run in fits])) for number, fits in own.items()}
    rng, first = np.random.default_rng(0), [number for number in starts if number in own]
    drawn = [rng.permutation([number for number in own if number not in first]).tolist() for _ in range(orders)]
    told = [[*first, *others][:CONFIGURATIONS] for others in drawn]
    whole = [play(order, own, 0, chance) for order in told]
    for arm, what in enumerate(ARMS):
        played = [play(order, own, arm, chance, first, seed) for seed, order in enumerate(told)]
        share = float(np.mean([one.epochs / all_.epochs for one, all_ in zip(played, whole, strict=True)]))
        regret = [
            max(truth[number] for number in order) - (chance if one.chosen is None else truth[one.chosen])
            for order, one in zip(told, played, strict=True)
        ]
        same = np.mean([one.chosen == all_.chosen for one, all_ in zip(played, whole, strict=True)])
        print(f"{name:24}{what:20} {share:6.1%}   {np.mean(regret):.4f} ({np.max(regret):.3f})   {same:.0%}")
        yield share, float(np.mean(regret))


if __name__ == "__main__":
    main()
