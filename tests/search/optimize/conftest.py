from __future__ import annotations

from typing import Any

import pytest


def pytest_make_parametrize_id(config: pytest.Config, val: Any, argname: str) -> str | None:
    """Lambdas by their lines: Optuna's suite is parametrized by several, and each test needs a name of its own."""
    is_lambda = getattr(val, "__name__", None) == "<lambda>"
    return f"{argname}-{val.__code__.co_firstlineno}" if is_lambda else None
