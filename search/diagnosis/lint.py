"""What can be told of a network without training it. Pure; no Keras."""

from __future__ import annotations

from search.causes import Cause
from search.diagnosis.build_rules import construction
from search.diagnosis.evidence import Anatomy, DataSample
from search.diagnosis.fit_rules import training
from search.diagnosis.pairing import pairing


def lint(anatomy: Anatomy, material: DataSample) -> tuple[Cause, ...]:
    """Suspicious things in how the network is built and trained, most suspicious first; one for each code."""
    found: dict[str, Cause] = {}
    for rules in (pairing, construction, training):
        for cause in rules(anatomy, material):
            if cause.code not in found or cause.score > found[cause.code].score:
                found[cause.code] = cause
    return tuple(sorted(found.values(), key=lambda cause: -cause.score))
