"""Audit of the collapse rules: a tenth of the fits is not stopped when a rule would stop it, so that wrong stops can be
counted.
"""

from __future__ import annotations

from typing import Final

from search import seeds

AUDITED_SHARE: Final = 0.1
"""Share of the fits, 0..1, that are audited."""


def is_audited(root_seed: int, configuration_hash: str, repeat: int, fold: int) -> bool:
    """Return whether a fit is audited; depends on nothing but the arguments, so it is the same after every restart.

    Args:
        root_seed: root seed of the study.
        configuration_hash: canonical hash of the fit's configuration.
        repeat: number of the split, from 0.
        fold: number of the fold, from 0.
    """
    return seeds.share(root_seed, "audit", configuration_hash, repeat, fold) < AUDITED_SHARE
