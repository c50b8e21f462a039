"""A headless Chromium that opens pages, offline, and tells what it asked for and complained of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = (
    f"No browser: none of {', '.join(NAMES)} is installed, so what people see of the report was not tested. "
    "Install one (Debian: apt install chromium), or leave these tests out with -m 'not browser'."
)


@dataclass
class Opened:
    """A page that was opened, with all that it said and asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The installed browser. Fails, never skips, where there is none: an untested page would look like a tested one."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.fail(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, file: Path, *, width: int, dark: bool = False) -> Iterator[Opened]:
    """The file in a window of that many pixels; every request but that for the file itself is noted."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if dark else "light",
        device_scale_factor=2 if width < 600 else 1,
        reduced_motion="reduce",
    )
    try:
        found = Opened(context.new_page())
        found.page.set_default_timeout(120_000)  # a busy machine is no error
        found.page.on("console", lambda message: found.complaints.append(f"{message.type}: {message.text}"))
        found.page.on("pageerror", lambda error: found.complaints.append(f"error: {error}"))
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.goto(file.as_uri())
        found.requests = [url for url in found.requests if url != file.as_uri()]
        yield found
    finally:
        context.close()


def draw_all(page: Page) -> None:
    """Scroll past every visible figure, so that all are drawn."""
    for figure in page.locator(".figure:visible").all():
        figure.scroll_into_view_if_needed()
        figure.locator(".main-svg").first.wait_for()
