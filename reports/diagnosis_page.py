"""`diagnosis.html`: one file that works offline: verdict, causes, mend, curves and layers."""

from __future__ import annotations

from search.diagnosis.records import Diagnosis


def diagnosis_page(diagnosis: Diagnosis) -> str:
    """The whole page as HTML."""
    return ""
