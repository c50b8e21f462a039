"""`run_search.py diagnose`: what it says, writes and returns. The diagnosis itself is made by hand."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import run_search
from search.diagnosis import examination
from search.diagnosis.evidence import Diagnosis, NetworkState
from search.diagnosis.examination import DiagnosisRequest
from search.errors import UserCodeError
from tests.reports import fake_diagnosis as fake

Answer = Callable[[Callable[[DiagnosisRequest], Diagnosis]], list[DiagnosisRequest]]

COMMAND = ("diagnose", "--data", "images", "--model", "net.py:build")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)  # pytest keeps its own
    return tmp_path


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Puts a function in the place of the examination; the requests that it gets."""

    def put(reply: Callable[[DiagnosisRequest], Diagnosis]) -> list[DiagnosisRequest]:
        requests: list[DiagnosisRequest] = []

        def examine(request: DiagnosisRequest, listener: object) -> Diagnosis:
            requests.append(request)
            return reply(request)

        monkeypatch.setattr(examination, "examine", examine)
        return requests

    return put


@pytest.mark.parametrize("state", [NetworkState.HEALTHY, NetworkState.COLLAPSED])
def test_healthy_or_not_it_is_done(answer: Answer, capsys: pytest.CaptureFixture[str], state: NetworkState) -> None:
    (asked,) = [answer(lambda request: fake.diagnosis(state))]
    assert run_search.main(COMMAND) == 0
    told = capsys.readouterr()
    assert told.err.splitlines()[0] == (
        "Running your code (net.py:build) in a separate process; its output goes to runs/net-diagnosis/diagnose.log."
    )
    lines = told.out.splitlines()
    assert len(lines) <= 25
    assert lines[-1].startswith("Report with curves and every layer: runs/net-diagnosis/diagnosis.html")
    assert json.loads(Path("runs/net-diagnosis/diagnosis.json").read_text())["verdict"] == state
    assert Path("runs/net-diagnosis/diagnosis.html").read_text().startswith("<!DOCTYPE html>")
    assert asked == [DiagnosisRequest(data=Path("images"), model="net.py:build", out=Path("runs/net-diagnosis"))]


def test_all_options_arrive(answer: Answer) -> None:
    asked = answer(lambda request: fake.diagnosis())
    assert run_search.main([*COMMAND, "--out", "here", "--seed", "7", "--budget", "10m"]) == 0
    expected = DiagnosisRequest(data=Path("images"), model="net.py:build", out=Path("here"), seed=7, budget=600.0)
    assert asked == [expected]
    assert Path("here/diagnosis.html").exists()


def test_faults_of_the_users_code_come_with_their_own_traceback(
    answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(request: DiagnosisRequest) -> Diagnosis:
        raise UserCodeError(
            "net.py: build ended\nwith ValueError: \x1b[31m", ("line 3, in build", "  \x1b[31mValueError")
        )

    answer(fails)
    assert run_search.main(COMMAND) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[1:] == [
        "  line 3, in build",
        "    \\x1b[31mValueError",
        "error: net.py: build ended with ValueError: \\x1b[31m",
    ]
    assert not Path("runs").exists()


def test_an_interruption_is_told(answer: Answer, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(request: DiagnosisRequest) -> Diagnosis:
        raise KeyboardInterrupt

    answer(interrupted)
    assert run_search.main(COMMAND) == 130
    assert (
        capsys.readouterr().err.splitlines()[-1] == "Interrupted; nothing was written except the output of your code."
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "images"), "the following arguments are required: --model. See run_search.py diagnose --help."),
        (("--model", "net.py"), "the following arguments are required: --data"),
        ((*COMMAND[1:], "--budget", "5"), "--budget: expected a duration such as 90s, 10m, 8h or 1h30m, got '5'"),
        ((*COMMAND[1:], "--seed", "-1"), "--seed: expected a whole number of at least 0"),
        (("--data", "images", "--model", "none.py"), "--model: there is no file none.py"),
        (("--data", "images", "--model", ""), "expected net.py:build or model.keras, got ''"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_search.main(["diagnose", *arguments]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not Path("runs").exists()


def test_help_has_an_example_and_says_that_it_runs_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run_search.main(["diagnose", "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "run_search.py diagnose --data ./images --model net.py:build" in text
    assert "It runs your code" in text
