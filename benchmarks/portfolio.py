"""Which configurations are the best first ones? Chosen greedily from whole trainings, never on the set at hand.

A portfolio's loss on a set is how far its best member stays behind the set's best configuration, as a share of what
that one gains over chance. Members are added one by one, each the one that lowers the mean loss over the sets most. For
each set a portfolio is also chosen without it: what that gains is what a user's new images may expect. The product's
is chosen from configurations written by hand; the table shows what random ones beside them would have brought.

    python -m benchmarks.portfolio table [--runs benchmarks/full_runs.npz]     figures, leave-one-out
    python -m benchmarks.portfolio choose [--runs ...] [--without SET]         the portfolio, as YAML
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import yaml

from benchmarks.full_runs import PACKED, Run, load
from benchmarks.machine import machine
from spaces.config import Configuration
from spaces.presets import KNOWN_GOOD

MOST: Final = 8
CLOSE: Final = 0.02  # to the final best, in balanced accuracy
ORDERS: Final = 500

RELATED: Final = {"s0_magnetic_blowhole": "m2_magnetic_defects"}
"""Sets whose images, or some of them, are another set's too: without the one, without the other."""

Table = Mapping[str, Mapping[int, tuple[float, float]]]
"""By set and number of the configuration: mean score over the folds, and the seconds of all its fits."""


def measured(runs: Sequence[Run]) -> tuple[Table, dict[int, Configuration], dict[str, float]]:
    """Scores and seconds, the configurations, and each set's chance. Collapsed and too slow ones score chance."""
    found: dict[str, dict[int, list[Run]]] = {}
    for run in runs:
        found.setdefault(run.data, {}).setdefault(run.number, []).append(run)
    chances = {
        name: 1 / max(run.probabilities.shape[1] for fits in own.values() for run in fits)
        for name, own in found.items()
    }
    table = {}
    for name, own in found.items():
        whole = max(len(fits) for fits in own.values())
        table[name] = {
            number: (
                float(np.mean([run.score if run.verdict == "learned" else chances[name] for run in fits])),
                float(sum(run.seconds for run in fits)),
            )
            for number, fits in own.items()
            if len(fits) == whole
        }
    return table, {run.number: run.configuration for run in runs}, chances


def losses(table: Table, chances: Mapping[str, float]) -> tuple[list[str], list[int], np.ndarray]:
    """Sets, configurations that ran on all of them, and each one's loss on each: `(sets, configurations)`, 0..1."""
    names = sorted(table)
    numbers = sorted(set.intersection(*(set(table[name]) for name in names)))
    rows = []
    for name in names:
        scores = np.array([table[name][number][0] for number in numbers])
        rows.append((scores.max() - scores) / max(1e-9, scores.max() - chances[name]))
    return names, numbers, np.array(rows)


def greedy(loss: np.ndarray, most: int = MOST) -> list[int]:
    """Columns that together lose least, the most useful first; where another one gains nothing, the best on average."""
    chosen: list[int] = []
    best = np.ones(len(loss))
    while len(chosen) < most:
        left = [column for column in range(loss.shape[1]) if column not in chosen]
        gains = {column: np.minimum(best, loss[:, column]).mean() for column in left}
        column = min(left, key=lambda column: (round(gains[column], 4), loss[:, column].mean()))
        chosen.append(column)
        best = np.minimum(best, loss[:, column])
    return chosen


def chosen(runs: Sequence[Run], without: str | None = None) -> list[Configuration]:
    """The portfolio from what was written by hand, chosen on all sets but one; a set that never ran has no part."""
    table, known, chances = measured(runs)
    names, numbers, loss = losses(table, chances)
    kept = [row for row, name in enumerate(names) if name != RELATED.get(str(without), without)]
    hand = _by_hand(numbers)
    return [known[numbers[hand[place]]] for place in greedy(loss[kept][:, hand])]


def _by_hand(numbers: Sequence[int]) -> list[int]:
    """Columns of the configurations that were written, not drawn."""
    return [column for column, number in enumerate(numbers) if number < len(KNOWN_GOOD)]


def figures(table: Table, chances: Mapping[str, float]) -> Iterator[str]:
    """For each set, portfolios chosen without it, from those by hand and from all; and as many in random order."""
    names, numbers, loss = losses(table, chances)
    pools = {"by hand": _by_hand(numbers), "from all": list(range(len(numbers)))}
    most = len(pools["by hand"])
    yield f"{len(numbers)} configurations on {len(names)} sets, {most} in a portfolio"
    yield f"{'':24} loss of {''.join(f'{name:>9}' for name in (*pools, 'random'))}   share of a random order's seconds"
    yield f"{'':24}         {'':27}   to within {CLOSE} of the best"
    rng, rows = np.random.default_rng(0), []
    for row, name in enumerate(names):
        score, seconds = (np.array([table[name][number][part] for number in numbers]) for part in (0, 1))
        orders = [rng.permutation(len(numbers)) for _ in range(ORDERS)]
        plain = float(np.mean([_time_to(order, score, seconds) for order in orders]))
        lost, shares, members = [], [], []
        for pool in pools.values():
            found = greedy(np.delete(loss, row, axis=0)[:, pool], most)
            first = [pool[place] for place in found]
            members.append([numbers[column] for column in first])
            lost.append(float(loss[row, first].min()))
            shares.append(np.mean([_time_to(_first(first, order), score, seconds) for order in orders]) / plain)
        lost.append(float(np.mean([loss[row, order[:most]].min() for order in orders])))
        rows.append([*lost, *shares])
        yield _line(name, rows[-1], pools) + f"   {members[0]}"
    yield _line("mean", list(np.mean(rows, axis=0)), pools)
    whole = [numbers[pools["by hand"][place]] for place in greedy(loss[:, pools["by hand"]], most)]
    yield f"by hand, on all sets: {whole}"


def _line(name: str, row: Sequence[float], pools: Sequence[str] | Mapping[str, object]) -> str:
    count = len(pools) + 1
    shares = ", ".join(f"{pool} {share:.2f}" for pool, share in zip(pools, row[count:], strict=True))
    return f"{name:24}         {''.join(f'{loss:9.3f}' for loss in row[:count])}   {shares}"


def _first(chosen: Sequence[int], order: Sequence[int]) -> list[int]:
    return [*chosen, *(column for column in order if column not in chosen)]


def _time_to(order: Sequence[int], score: np.ndarray, seconds: np.ndarray) -> float:
    """Seconds until one of them is close to the best of all."""
    close = np.flatnonzero(score[list(order)] >= score.max() - CLOSE)[0]
    return float(seconds[list(order)][: close + 1].sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    tabling, choosing = commands.add_parser("table"), commands.add_parser("choose")
    for one in (tabling, choosing):
        one.add_argument("--runs", type=Path, default=PACKED)
    choosing.add_argument("--without", help="a set")
    options = parser.parse_args()
    runs = load(options.runs)
    if options.command == "table":
        print(machine("numpy"))
        table, _, chances = measured(runs)
        print(*figures(table, chances), sep="\n")
    else:
        found = [configuration.as_dict() for configuration in chosen(runs, options.without)]
        print(yaml.safe_dump({"portfolio": found}, sort_keys=False))


if __name__ == "__main__":
    main()
