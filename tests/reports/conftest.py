"""What holds for the tests of the reports."""

from __future__ import annotations

import pytest

import reports.diagnosis_page
import reports.page


@pytest.fixture(autouse=True)
def _little_plotly(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """plotly.js is 4.8 MB that only a browser reads: elsewhere a word stands for it, until `monkeypatch.undo`."""
    if request.node.get_closest_marker("browser") is None:
        for module in (reports.page, reports.diagnosis_page):
            monkeypatch.setattr(module, "get_plotlyjs", lambda: "/* plotly.js */")
