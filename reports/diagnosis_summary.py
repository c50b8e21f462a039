"""The summary of a diagnosis on the terminal, at most 25 lines."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from reports.diagnosis_wording import (
    HEADLINES,
    best_fix,
    fix_effect,
    scores,
    scores_sentence,
    standing,
    without_fix,
)
from reports.wording import duration, evidence_text, shown
from search.causes import CAUSES, Cause
from search.diagnosis.evidence import Diagnosis

MOST_LINES: Final = 25
WIDTH: Final = 100
_PARTS: Final = (4, 9, 8, 2, 2)  # most lines of each part, 25 in total


def diagnosis_lines(diagnosis: Diagnosis, page: Path) -> list[str]:
    """Return at most 25 lines of plain text: result, causes, the change that helps, remarks, path of the page.

    Lines of code are not wrapped; all others have at most 100 characters.
    """
    parts = (_verdict(diagnosis), _causes(diagnosis), _fix(diagnosis), _remarks(diagnosis), _end(diagnosis, page))
    blocks = [_cut(part, most) for part, most in zip(parts, _PARTS, strict=True) if part]
    spaced = [line for part in blocks for line in ("", *part)][1:]
    return spaced if len(spaced) <= MOST_LINES else [line for part in blocks for line in part]


def _cut(lines: Sequence[str], most: int) -> list[str]:
    return list(lines) if len(lines) <= most else [*lines[: most - 1], "   ... more in the report"]


def _verdict(diagnosis: Diagnosis) -> list[str]:
    return [*_wrapped(f"{HEADLINES[diagnosis.state]}."), *_wrapped(scores_sentence(diagnosis))]


def _causes(diagnosis: Diagnosis) -> list[str]:
    if not diagnosis.causes:
        return []
    lines = ["Causes:"]
    for place, cause in enumerate(diagnosis.causes, start=1):
        block = _wrapped(f"{place}. {_named(cause)} ({standing(cause)}). {CAUSES[cause.code]}", " ", "    ")
        if cause.evidence:
            block += _wrapped(evidence_text(cause.evidence), "    ", "    ")
        more = place < len(diagnosis.causes)
        if place > 1 and len(lines) + len(block) + more > _PARTS[1]:
            rest = ", ".join(_named(left) for left in diagnosis.causes[place - 1 :])
            return [*lines, *_wrapped(f"Less likely: {rest}.", " ", "    ")]
        lines += block
    return lines


def _fix(diagnosis: Diagnosis) -> list[str]:
    if diagnosis.healthy:
        return []
    fix = best_fix(diagnosis)
    if fix is None:
        return _wrapped(without_fix(diagnosis))
    code = [f"    {shown(line)}" for line in fix.change.splitlines() if line.strip()]
    head = _wrapped(f"Smallest change that makes it learn, with {fix_effect(fix, diagnosis)}: {fix.summary}")
    tail = [f"  before {scores(fix.before)}   after {scores(fix.after)}"]
    return [*head, *_cut(code, max(1, _PARTS[2] - len(head) - len(tail))), *tail]


def _remarks(diagnosis: Diagnosis) -> list[str]:
    if not diagnosis.remarks:
        return []
    head = "Also noticed, although the network learns" if diagnosis.healthy else "Also noticed, but not the cause"
    return _wrapped(f"{head}: {', '.join(_named(cause) for cause in diagnosis.remarks)}.")


def _end(diagnosis: Diagnosis, page: Path) -> list[str]:
    return [f"Report with curves and every layer: {shown(str(page))} (took {duration(diagnosis.seconds)})"]


def _named(cause: Cause) -> str:
    return f"{cause.code} in {cause.layer}" if cause.layer else cause.code


def _wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(shown(text), WIDTH, initial_indent=first, subsequent_indent=rest or first)
