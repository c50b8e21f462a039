"""Rules replayed over fits that ran to their end: what they catch, what they wrongly stop, what they save."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from scipy.stats import beta

from benchmarks.rival_rules import RIVALS, Rule
from search.collapse.limits import DEFAULT_LIMITS, Limits
from search.collapse.protection import Protection
from search.collapse.rules import judge
from search.fit_checks import Check
from search.records import Fit, Verdict

USEFUL: Final = 0.25  # of the way from chance to 1, in balanced accuracy at the end
CHANCE: Final = 0.05  # above chance at most, for a fit that failed


def end(fit: Any) -> Check:
    """The last check, with fair BatchNorm statistics."""
    return fit.fair[-1] or fit.checks[-1]


def is_useful(fit: Any) -> bool:
    """Whether the fit went at least a quarter of the way from chance to perfect."""
    chance = 1 / fit.classes
    return bool((end(fit).score - chance) / (1 - chance) >= USEFUL)


def is_lost(fit: Any) -> bool:
    """Whether the fit ended at chance; one that became non-finite has no score."""
    last = end(fit)
    return not last.finite or not last.score > 1 / fit.classes + CHANCE


def ours(fit: Any, limits: Limits = DEFAULT_LIMITS, protected: Protection | None = None) -> int | None:
    """The epoch at which our rules stop the fit, with fair BatchNorm statistics at the moment of the verdict."""
    context = replace(fit.context, chance=1 / fit.classes, protected=protected or Protection(calibrating=False))
    seen: list[Check] = []
    for check, fair in zip(fit.checks, fit.fair, strict=True):
        seen.append(check)
        if judge(seen, context, limits) is None:
            continue
        if fair is not None:
            seen[-1] = fair
            if judge(seen, context, limits) is None:
                continue
        return check.epoch
    return None


def ours_in_a_study(fits: Sequence[Any], limits: Limits = DEFAULT_LIMITS) -> dict[int, int | None]:
    """The same with earlier fits of the set protecting later ones, as in a study."""
    past: list[Fit] = []
    stops: dict[int, int | None] = {}
    for fit in sorted(fits, key=lambda one: one.number):
        stop = ours(fit, limits, Protection.of(past, limits))
        stops[fit.number] = stop
        run = tuple(check for check in fit.checks if stop is None or check.epoch <= stop)
        past.append(_as_fit(fit, run, stop))
    return stops


def _as_fit(fit: Any, checks: tuple[Check, ...], stop: int | None) -> Fit:
    return Fit(
        key=f"{fit.number:016x}",
        trial=fit.number,
        stage="audit",
        configuration=fit.configuration.hash,
        repeat=0,
        fold=0,
        attempt=0,
        seed=0,
        verdict=Verdict.LEARNED if stop is None else Verdict.COLLAPSED,
        checks=checks,
    )


@dataclass(frozen=True, slots=True)
class Row:
    """What a rule did."""

    fits: int
    useful: int
    lost: int
    stopped: int
    useful_stopped: int
    between_stopped: int
    lost_stopped: int
    epochs: int
    saved: int

    @property
    def upper(self) -> float:
        """One-sided 95 % upper bound of the share of useful fits stopped (Clopper-Pearson)."""
        k, n = self.useful_stopped, self.useful
        return 1.0 if k == n else float(beta.ppf(0.95, k + 1, n - k))

    def text(self) -> str:
        """A line of the Markdown table."""
        precision = self.lost_stopped / self.stopped if self.stopped else float("nan")
        recall = self.lost_stopped / self.lost if self.lost else float("nan")
        return (
            f"{self.useful_stopped} of {self.useful} (<= {self.upper:.1%}) | {self.between_stopped} | "
            f"{precision:.2f} | {recall:.2f} | {self.saved / max(1, self.epochs):.0%} |"
        )


def row(fits: Iterable[Any], stops: Sequence[int | None]) -> Row:
    """Count over fits and the epochs at which they were stopped."""
    fits = list(fits)
    pairs = list(zip(fits, stops, strict=True))
    return Row(
        fits=len(fits),
        useful=sum(map(is_useful, fits)),
        lost=sum(map(is_lost, fits)),
        stopped=sum(stop is not None for stop in stops),
        useful_stopped=sum(stop is not None and is_useful(fit) for fit, stop in pairs),
        between_stopped=sum(stop is not None and not is_useful(fit) and not is_lost(fit) for fit, stop in pairs),
        lost_stopped=sum(stop is not None and is_lost(fit) for fit, stop in pairs),
        epochs=sum(fit.context.epochs for fit in fits),
        saved=sum(fit.context.epochs - stop for fit, stop in pairs if stop is not None),
    )


def table(fits: Sequence[Any], half: str) -> None:
    """Print the table over a half: even numbers are for tuning, odd ones for reporting."""
    wanted = {"tune": (0,), "report": (1,), "both": (0, 1)}[half]
    chosen = [fit for fit in fits if fit.number % 2 in wanted]
    sets = sorted({fit.data for fit in chosen})
    print("| set | fits | useful | in between | at chance | epochs |\n|---|---|---|---|---|---|")
    for name in sets:
        own = [fit for fit in chosen if fit.data == name]
        one = row(own, [None] * len(own))
        print(
            f"| {name} | {one.fits} | {one.useful} | {one.fits - one.useful - one.lost} | {one.lost} | {one.epochs} |"
        )
    in_study = {name: ours_in_a_study([fit for fit in chosen if fit.data == name]) for name in sets}
    rules: dict[str, Rule] = {
        "Steadynet": ours,
        "Steadynet in a study": lambda fit: in_study[fit.data][fit.number],
        **RIVALS,
    }
    print("\n| rule | set | useful stopped | others stopped | precision | recall | epochs saved |")
    print("|---|---|---|---|---|---|---|")
    for name, rule in rules.items():
        for group in [*sets, "all"]:
            if group != "all" and not name.startswith("Steadynet"):
                continue
            own = [fit for fit in chosen if group in (fit.data, "all")]
            print(f"| {name} | {group} | {row(own, [rule(fit) for fit in own]).text()}")
