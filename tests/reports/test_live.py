from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from reports.live import LiveDisplay
from reports.live_board import Board
from reports.live_lines import PlainLines
from search.events import EarlierProgress, Listener
from search.records import Trial, TrialState
from tests.reports import fake_results as fake


def run(listener: Listener) -> None:
    results = fake.results(fake.trials(3), quarantined={"x.png": "bad"}, folder="im[red]ages\x1b[31m")
    listener.stage("Scanning im[red]ages\x1b[31m")
    for done in range(0, 101, 10):
        listener.progress("decoding", done, 100)
    listener.data(results.study.data)
    listener.planned(results.study.plan, 200, 3600.0, EarlierProgress())
    for trial in results.study.trials:
        listener.trial_started(trial.number, trial.configuration, fake.FOLDS)
        for fit in trial.fits:
            for check in fit.checks:
                listener.check(trial.number, fit.fold, check, fit.epochs_planned)
            listener.fit_finished(fit)
        listener.trial_finished(trial, 0.8, 0.8)


def test_without_a_terminal_there_are_plain_lines() -> None:
    stream = io.StringIO()
    with LiveDisplay(Console(file=stream, width=40)) as listener:
        run(listener)
    text = stream.getvalue()
    fits = sum(len(trial.fits) for trial in fake.trials(3))
    trial_lines = [line for line in text.splitlines() if line.startswith("trial")]
    assert len(trial_lines) == fits + 3
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "im[red]ages\\x1b[31m" in text
    assert text.count("decoding") == 1
    assert "Budget: 200 trials or 1 h 00 min left (change with --trials and --timeout)" in text


def test_plain_lines_count_the_study_not_the_session() -> None:
    stream = io.StringIO()
    lines = PlainLines(Console(file=stream))
    lines.planned(fake.results().study.plan, 50, None, EarlierProgress(12))
    lines.trial_finished(fake.trial(12, [0.8] * 5), 0.8, 0.9)
    lines.trial_finished(replace(fake.trial(13, [0.8]), state=TrialState.INTERRUPTED), None, 0.9)
    first, second = [line for line in stream.getvalue().splitlines() if line.startswith("trial")]
    assert "13/50 trials" in first
    assert "13/50 trials" in second


def test_a_reader_that_has_gone_does_not_end_the_run() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("gone")

    lines = PlainLines(Console(file=Gone()))
    lines.stage("one")
    lines.stage("two")


def test_a_terminal_gets_a_panel() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, height=40)
    with LiveDisplay(console) as listener:
        run(listener)
        assert isinstance(listener, Board)
    assert "im[red]ages" in stream.getvalue()


def picture(board: Board, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        console.print(board.render())
    return capture.get()


def test_the_panel_shows_where_the_run_is() -> None:
    now = [0.0]
    board = Board(clock=lambda: now[0])
    study = fake.results(fake.trials(1)).study
    board.stage("Searching")
    board.data(study.data)
    board.planned(study.plan, 200, 600.0, EarlierProgress(10))
    assert "200 trials or 10 min 00 s left (change with --trials and --timeout)" in picture(board, 160)
    collapsed = fake.trial(10, [], "dead-layer")
    good = fake.trial(11, [0.8] * 5)
    _play(board, collapsed, None, None)
    _play(board, good, 0.8, 0.8)
    board.trial_started(12, study.trials[0].configuration, 5)
    board.fit_finished(fake.fit(12, 0, 0.7))
    board.check(12, 1, fake.check(8, 0.5, 0.25), 40)
    now[0] = 60.0
    text = picture(board)
    for words in (
        "Searching",
        "12/200",
        "trial 12",
        "fold 2/5  epoch 8/40",
        "skill 0.25",
        "0.800",
        "trial 11",
        "1 dead-layer",
        "1 min 00 s, at most 9 min 00 s left",
    ):
        assert words in text


@pytest.mark.parametrize("width", [20, 40, 200])
def test_the_panel_fits_every_width_at_any_moment(width: int) -> None:
    board = Board()
    assert max(map(len, picture(board, width).splitlines())) <= width
    run(board)
    assert max(map(len, picture(board, width).splitlines())) <= width


def test_progress_shows_until_it_is_done() -> None:
    board = Board()
    board.progress("hashing", 5, 10)
    assert "5/10" in picture(board)
    board.progress("hashing", 10, 10)
    assert "hashing" not in picture(board)


def _play(board: Board, trial: Trial, pooled: float | None, best: float | None) -> None:
    board.trial_started(trial.number, trial.configuration, 5)
    for fit in trial.fits:
        board.fit_finished(fit)
    board.trial_finished(trial, pooled, best)
