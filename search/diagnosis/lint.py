"""Static check of a network: suspected causes that need no training. Pure; no Keras."""

from __future__ import annotations

from search.causes import Cause
from search.diagnosis.build_rules import construction
from search.diagnosis.evidence import Anatomy, DataSample
from search.diagnosis.fit_rules import training
from search.diagnosis.pairing import pairing


def lint(anatomy: Anatomy, material: DataSample) -> tuple[Cause, ...]:
    """Return suspected causes in how the network is built and trained, highest score first; one per code."""
    by_code: dict[str, Cause] = {}
    for rules in (pairing, construction, training):
        for cause in rules(anatomy, material):
            if cause.code not in by_code or cause.score > by_code[cause.code].score:
                by_code[cause.code] = cause
    return tuple(sorted(by_code.values(), key=lambda cause: -cause.score))
