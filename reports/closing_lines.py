"""The last lines on the terminal: what came out, in one look."""

from __future__ import annotations

from reports.ablation import sentence
from reports.sections.answer import next_steps, retrainings, warnings
from reports.wording import control_sentence, metric_name, number, short
from search.selection.results import Results


def closing_lines(results: Results) -> list[str]:
    """Recommendation and promise, or why there is none; plain text."""
    judged = f"{len(results.study.trials)} trials, {sum(results.verdicts.values())} fits"
    best = results.recommended
    if best is None:
        reasons = ", ".join(f"{reason} {count}" for reason, count in results.collapse_reasons.items())
        lines = [f"No recommendation: {results.reason} ({judged}{'; ' + reasons if reasons else ''})."]
        if results.control is not None:
            lines.append(control_sentence(results.control, results.study.identity.metric))
        return lines
    promise, metric = best.promise, metric_name(results.study.identity.metric)
    lines = [
        f"Recommended: {short(best.ranked.trial.configuration)}  ({judged})",
        f"Expected {metric} on new images: {number(promise.value)}, 95 % interval {number(promise.low)} to "
        f"{number(promise.high)} (guessing: {number(results.chance)}; optimistic mean of the search: "
        f"{number(best.ranked.pooled)})",
    ]
    if best.finalist is not None:
        lines.append(f"Trained again on fresh splits: {retrainings(best.finalist).sentence}")
    if results.study.test is not None:
        test = results.study.test
        lines.append(f"Test score, trained once on all images: {number(test.score)} (n = {test.n})")
    if said := sentence(results):
        lines.append(said)
    if promise.inconclusive:
        lines.append("Inconclusive.")
    lines += warnings(results)
    lines += [f"{purpose}: {command}" for purpose, command in next_steps(results)]
    return lines
