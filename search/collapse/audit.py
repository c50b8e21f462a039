"""Which fits run on although the watch would stop them: a fixed tenth, so that wrong stops can be counted."""

from __future__ import annotations

from typing import Final

from search import seeds

AUDITED_SHARE: Final = 0.1


def is_audited(root_seed: int, configuration_hash: str, repeat: int, fold: int) -> bool:
    """Drawn from what the fit is, never from when it runs: the same after every restart."""
    return seeds.share(root_seed, "audit", configuration_hash, repeat, fold) < AUDITED_SHARE
