"""What a diagnosis says on the terminal: at most twenty-five lines."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from reports.diagnosis_wording import (
    HEADLINES,
    best_mend,
    mend_effect,
    scores,
    scores_sentence,
    standing,
    without_mend,
)
from reports.wording import duration, evidence_text, shown
from search.causes import CAUSES, Cause
from search.diagnosis.evidence import Diagnosis

MOST_LINES: Final = 25
WIDTH: Final = 100
_PARTS: Final = (4, 9, 8, 2, 2)  # most lines of each part, 25 in all


def diagnosis_lines(diagnosis: Diagnosis, page: Path) -> list[str]:
    """At most 25 lines of plain text: verdict, causes, the change that mends it, remarks, where the page is.

    Lines of code are left whole; all others have at most 100 signs.
    """
    parts = (_verdict(diagnosis), _causes(diagnosis), _mend(diagnosis), _remarks(diagnosis), _end(diagnosis, page))
    kept = [_cut(part, most) for part, most in zip(parts, _PARTS, strict=True) if part]
    spaced = [line for part in kept for line in ("", *part)][1:]
    return spaced if len(spaced) <= MOST_LINES else [line for part in kept for line in part]


def _cut(lines: Sequence[str], most: int) -> list[str]:
    return list(lines) if len(lines) <= most else [*lines[: most - 1], "   ... more in the page"]


def _verdict(diagnosis: Diagnosis) -> list[str]:
    return [*_wrapped(f"{HEADLINES[diagnosis.state]}."), *_wrapped(scores_sentence(diagnosis))]


def _causes(diagnosis: Diagnosis) -> list[str]:
    if not diagnosis.causes:
        return []
    lines = ["Why:"]
    for place, cause in enumerate(diagnosis.causes, start=1):
        block = _wrapped(f"{place}. {_named(cause)} ({standing(cause)}). {CAUSES[cause.code]}", " ", "    ")
        if cause.evidence:
            block += _wrapped(evidence_text(cause.evidence), "    ", "    ")
        more = place < len(diagnosis.causes)
        if place > 1 and len(lines) + len(block) + more > _PARTS[1]:
            rest = ", ".join(_named(left) for left in diagnosis.causes[place - 1 :])
            return [*lines, *_wrapped(f"Further down: {rest}.", " ", "    ")]
        lines += block
    return lines


def _mend(diagnosis: Diagnosis) -> list[str]:
    if diagnosis.healthy:
        return []
    mend = best_mend(diagnosis)
    if mend is None:
        return _wrapped(without_mend(diagnosis))
    code = [f"    {shown(line)}" for line in mend.change.splitlines() if line.strip()]
    head = _wrapped(f"Smallest change that makes it learn, in {mend_effect(mend, diagnosis)}: {mend.summary}")
    tail = [f"  before {scores(mend.before)}   after {scores(mend.after)}"]
    return [*head, *_cut(code, max(1, _PARTS[2] - len(head) - len(tail))), *tail]


def _remarks(diagnosis: Diagnosis) -> list[str]:
    if not diagnosis.remarks:
        return []
    head = "Also noticed, though it learns" if diagnosis.healthy else "Also true, but not the cause"
    return _wrapped(f"{head}: {', '.join(_named(cause) for cause in diagnosis.remarks)}.")


def _end(diagnosis: Diagnosis, page: Path) -> list[str]:
    return [f"More, with curves and every layer: {shown(str(page))} ({duration(diagnosis.seconds)})"]


def _named(cause: Cause) -> str:
    return f"{cause.code} in {cause.layer}" if cause.layer else cause.code


def _wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(shown(text), WIDTH, initial_indent=first, subsequent_indent=rest or first)
