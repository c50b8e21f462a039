"""How an error ends a command."""

from __future__ import annotations

import pytest

import run_search
from commands import status
from commands.terminal import USER_ERROR
from search import errors

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]


def fails_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def run(*_: object) -> int:
        raise error

    monkeypatch.setattr(status, "run", run)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_user_can_fix_is_one_line_and_exit_code_2(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fails_with(monkeypatch, kind("what came, what was expected"))
    assert run_search.main(["status", "--out", "run"]) == USER_ERROR
    assert capsys.readouterr() == ("", "error: what came, what was expected\n")


def test_our_own_error_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    fails_with(monkeypatch, ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        run_search.main(["status", "--out", "run"])
