"""Audit of the collapse rules: a fixed tenth of the fits runs on although a rule would stop it, so that wrong stops
can be counted.
"""

from __future__ import annotations

from typing import Final

from search import seeds

AUDITED_SHARE: Final = 0.1


def is_audited(root_seed: int, configuration_hash: str, repeat: int, fold: int) -> bool:
    """Whether a fit belongs to the audited tenth: drawn from its identity, so the same after every restart.

    Args:
        root_seed: of the study.
        configuration_hash: canonical hash of the fit's configuration.
        repeat: of the split, from 0.
        fold: of the split, from 0.
    """
    return seeds.share(root_seed, "audit", configuration_hash, repeat, fold) < AUDITED_SHARE
