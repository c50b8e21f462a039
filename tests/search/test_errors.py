from __future__ import annotations

import pytest

from search import errors


@pytest.mark.parametrize("name", ["DataError", "MismatchError", "BusyError", "DamagedError"])
def test_whoever_can_mend_it_is_told_in_one_way(name: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, errors.UserError)
    assert str(kind("what came, what was expected")) == "what came, what was expected"


def test_our_bugs_are_no_user_errors() -> None:
    assert not issubclass(errors.UserError, ValueError | OSError)
    assert not issubclass(ValueError, errors.UserError)
