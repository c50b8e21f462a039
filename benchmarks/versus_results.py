"""Results of `benchmarks.versus_peers`: how they are kept, and their tables."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

OURS: Final = "ours"
OURS_SCRATCH: Final = "ours_scratch"
PEERS: Final = {"optuna": "optuna_keras.py", "kerastuner": "kerastuner.py", "autokeras": "auto_keras.py"}
PRETRAINED: Final = {"probe": ("probe.py", 224), "tutorial": ("tutorial.py", 160)}
"""Arms with our file of weights: script, and side of their images in pixels."""
AT_CHANCE: Final = 0.05  # a score no further above chance says nothing of the images
_DRAWS: Final = 4000  # of the bootstrap


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One arm on one set with one seed.

    Images of `right` are in the order of their classes and names. Rows without `side` are of 32 pixels.
    """

    arm: str
    data: str
    seed: int
    classes: int
    seconds: float  # of the search, from the command to its end
    limit: float
    promise: float | None  # what it says of its own choice
    tests: tuple[float, ...]  # balanced accuracy of each retraining
    constant: int  # retrainings that predict one class
    curve: tuple[tuple[float, float], ...] = ()  # ours: seconds from the command, best cross-validated score so far
    versions: dict[str, str]
    machine: str
    failure: str = ""  # why it delivered nothing
    side: int | None = 32  # pixels of all arms' images; None: each arm chooses, and may use pretrained networks
    chosen: str = ""  # what ours recommends
    commit: str = ""  # of our code
    load: float | None = None  # average of the machine when it was kept: with others on it, seconds say little
    counts: tuple[int, ...] = ()  # test images of each class
    right: tuple[str, ...] = ()  # of each retraining, "1" for each test image that is predicted rightly, else "0"

    @property
    def mean(self) -> float:
        return float(np.mean(self.tests))

    @property
    def at_chance(self) -> int:
        """Retrainings that are no better than guessing."""
        return sum(score <= 1 / self.classes + AT_CHANCE for score in self.tests)


def read(kept: Path) -> list[Result]:
    """What is done."""
    if not kept.exists():
        return []
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    lists = ("tests", "curve", "counts", "right")
    return [Result(**{key: tuple(value) if key in lists else value for key, value in row.items()}) for row in rows]


def keep(kept: Path, result: Result) -> None:
    values = {name: getattr(result, name) for name in Result.__slots__} | {"load": os.getloadavg()[1]}
    with kept.open("a") as stream:
        stream.write(json.dumps(values) + "\n")


def per_image(results: Sequence[Result]) -> list[np.ndarray]:
    """Share of retrainings, over all seeds, that are right about each test image; an array for each class."""
    shares = np.mean([[int(one) for one in right] for result in results for right in result.right], axis=0)
    return np.split(shares, np.cumsum(results[0].counts)[:-1])


def paired(ahead: Sequence[Result], behind: Sequence[Result]) -> tuple[float, float]:
    """Difference of two arms' balanced accuracies on a set, and its standard error.

    The error is that of a bootstrap of the test images within their classes, which both arms have in common; training
    images are fixed.
    """
    apart = [a - b for a, b in zip(per_image(ahead), per_image(behind), strict=True)]
    variance = sum(one.var() / len(one) for one in apart) / len(apart) ** 2
    return float(np.mean([one.mean() for one in apart])), float(np.sqrt(variance))


def pretrained_table(results: Sequence[Result]) -> Iterator[str]:
    """Balanced accuracy of each set and arm, and ours against each other arm, on the seeds that both have run."""
    arms = [arm for arm in (OURS, *PRETRAINED, OURS_SCRATCH) if any(one.arm == arm for one in results)]
    sets = list(dict.fromkeys(one.data for one in results))
    of = {(arm, name): [one for one in results if (one.arm, one.data) == (arm, name)] for arm in arms for name in sets}
    yield f"{'':22}" + "".join(f"{arm + ' (seeds)':>18}" for arm in arms) + "   promise of ours"
    for name in sets:
        row = [of[arm, name] for arm in arms]
        scores = (f"{np.mean([one.mean for one in own]):.3f} ({len(own)})" if own else "-" for own in row)
        promises = [one.promise for one in of.get((OURS, name), ()) if one.promise is not None]
        promise = f"{np.mean(promises):.3f}" if promises else "-"
        yield f"{name:22}" + "".join(f"{score:>18}" for score in scores) + f"{promise:>18}"
    for arm in arms:
        seconds = [one.seconds for one in results if one.arm == arm]
        loads = [one.load for one in results if one.arm == arm and one.load is not None]
        loaded = f", load average up to {max(loads):.1f}" if loads else ""
        yield f"seconds of {arm}: {np.mean(seconds):.0f} ({min(seconds):.0f} to {max(seconds):.0f}){loaded}"
    for arm in arms:
        if arm != OURS and OURS in arms:
            yield ""
            yield from _against(arm, [(of[OURS, name], of[arm, name]) for name in sets])
    yield ""
    for one in results:
        if one.chosen:
            yield f"{one.data} {one.seed} {one.arm} recommends {one.chosen}"


def _against(arm: str, sets: Sequence[tuple[list[Result], list[Result]]]) -> Iterator[str]:
    yield f"ours - {arm:15}  by (SE), seeds in common"
    gains, errors, ahead, pairs = [], [], 0, 0
    for ours, theirs in sets:
        seeds = {one.seed for one in ours} & {one.seed for one in theirs}
        if not seeds:
            continue
        ours, theirs = ([one for one in arms if one.seed in seeds] for arms in (ours, theirs))
        gain, error = paired(ours, theirs)
        won = sum(a.mean > b.mean for a in ours for b in theirs if a.seed == b.seed)
        gains.append(gain)
        errors.append(error)
        ahead, pairs = ahead + won, pairs + len(seeds)
        behind = "  behind by more than one SE" if gain < -error else ""
        yield f"{ours[0].data:22}  {gain:+.3f} ({error:.3f}), {won} of {len(seeds)} ahead{behind}"
    if gains:
        error = np.sqrt(np.square(errors).sum()) / len(errors)
        yield f"{'mean of the sets':22}  {np.mean(gains):+.3f} ({error:.3f}), {ahead} of {pairs} ahead"


def table(results: Sequence[Result]) -> Iterator[str]:
    """Arm by arm, and ours against each peer where both have run."""
    mine = {(one.data, one.seed): one for one in results if one.arm == OURS}
    yield "arm          runs   mean  worst   at chance   |said - test|   seconds past the limit"
    for arm in dict.fromkeys(one.arm for one in results):
        own = [one for one in results if one.arm == arm]
        gaps = [abs(one.promise - one.mean) for one in own if one.promise is not None]
        said = f"{np.mean(gaps):.3f}" if gaps else "    -"
        late = np.mean([max(0.0, one.seconds - one.limit) for one in own])
        yield (
            f"{arm:12} {len(own):4}  {np.mean([one.mean for one in own]):.3f}  "
            f"{np.mean([min(one.tests) for one in own]):.3f}   {sum(one.at_chance for one in own):3} of "
            f"{sum(len(one.tests) for one in own):3}      {said}           {late:5.0f}"
        )
    yield ""
    yield "ours against  pairs  better [95 %]        by [95 %]                our seconds to its score / its seconds"
    for arm in PEERS:
        pairs = [(mine[one.data, one.seed], one) for one in results if one.arm == arm and (one.data, one.seed) in mine]
        if not pairs:
            continue
        gains: dict[str, list[float]] = {}
        for ahead, behind in pairs:
            gains.setdefault(ahead.data, []).append(ahead.mean - behind.mean)
        better, by = share_and_mean(list(gains.values()))
        shares = [share for pair in pairs if (share := time_share(*pair)) is not None]
        never = sum(np.isinf(shares))
        reached = f"{np.median(shares):.2f} (median of {len(shares)}, {never} of them never)" if shares else "-"
        yield (
            f"{arm:12}  {len(pairs):5}  {better[0]:4.0%} [{better[1]:4.0%}, {better[2]:4.0%}]  "
            f"{by[0]:+.3f} [{by[1]:+.3f}, {by[2]:+.3f}]  {reached}"
        )
    yield ""
    for name in dict.fromkeys(one.data for one in results):
        for arm in dict.fromkeys(one.arm for one in results):
            own = [one for one in results if (one.arm, one.data) == (arm, name)]
            if own:
                yield f"{name:22} {arm:12} " + "  ".join(f"{one.mean:.3f} ({min(one.tests):.3f})" for one in own)


def share_and_mean(gains: Sequence[Sequence[float]]) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Of the pairs where ours is ahead, and of what it gains: each with its 95 % interval.

    The bootstrap draws sets, then seeds of each: five sets are few, and seeds of one set are alike.
    """
    rng = np.random.default_rng(0)

    def told(sets: Sequence[Sequence[float]]) -> tuple[float, float]:
        every = np.concatenate([np.asarray(one) for one in sets])
        return float(np.mean(every > 0)), float(np.mean(every))

    drawn = np.array(
        [
            told([rng.choice(gains[place], len(gains[place])) for place in rng.integers(len(gains), size=len(gains))])
            for _ in range(_DRAWS)
        ]
    )
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    share, mean = told(gains)
    return (share, float(low[0]), float(high[0])), (mean, float(low[1]), float(high[1]))


def time_share(ours_: Result, theirs: Result) -> float | None:
    """When ours first had the peer's own final score, over its seconds; infinite if never. None: it says no score."""
    if theirs.promise is None:
        return None
    moments = (moment for moment, score in ours_.curve if score >= theirs.promise)
    return next(moments, float("inf")) / theirs.seconds
