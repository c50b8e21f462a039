"""The live display: a panel on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Final

from rich.console import Console
from rich.live import Live

from reports.live_board import Board
from reports.live_lines import PlainLines
from search.events import Listener

_REFRESHES: Final = 4  # per second


class LiveDisplay:
    """Shows the progress of a run on `console` while the context is open.

    >>> with LiveDisplay(console) as listener:  # doctest: +SKIP
    ...     run(settings, listener)
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def __enter__(self) -> Listener:
        if not self._console.is_terminal:
            return PlainLines(self._console)
        board = Board()
        self._live = Live(
            console=self._console,
            refresh_per_second=_REFRESHES,
            get_renderable=board.render,
            vertical_overflow="ellipsis",
        )
        self._live.start()
        return board

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            with contextlib.suppress(OSError):  # the terminal may be gone
                self._live.stop()
            self._live = None
