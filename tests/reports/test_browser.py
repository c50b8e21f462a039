"""The report as people see it: in a browser, on a desk and on a phone, in light, dark and print."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from reports.page import SECTIONS, page
from tests.reports import chromium as browsers
from tests.reports import fake_results as fake
from tests.reports import fake_robustness as robust
from tests.reports.chromium import Opened, chromium, draw_all, opened

pytestmark = pytest.mark.browser

STRANGE = ("صورة ١.jpg", "🌷 tulip.png", "<b>bold</b>.jpg", "a" * 120 + ".jpeg")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every part, classes and files of strange names."""
    results = robust.everything(
        60,
        classes={"benign": 62, "<i>malignant</i>": 58, "a very long name of a class that goes on and on": 31},
        file=lambda row: f"benign/{row} {STRANGE[row % len(STRANGE)]}",
    )
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page(results), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("width", "dark"), [(1280, False), (390, True)], ids=["desk in the light", "phone in the dark"]
)
def test_the_page_is_whole_and_quiet(browser: Browser, report: Path, tmp_path: Path, width: int, dark: bool) -> None:
    with opened(browser, report, width=width, dark=dark) as found:
        draw_all(found.page)
        assert found.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        ground = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(int(part) for part in ground.strip("rgb()").split(",")) < 200) is dark
        assert [section.get_attribute("id") for section in found.page.locator("main > section").all()] == list(SECTIONS)
        found.page.add_style_tag(content="nav { position: static !important }")  # not across the pictures
        for name in SECTIONS:
            section = found.page.locator(f"#{name}")
            assert section.is_visible()
            section.screenshot(path=tmp_path / f"{name}.png")
        assert found.complaints == []
        assert found.requests == []
    print(f"screenshots to look at: {tmp_path}")  # noqa: T201


@pytest.fixture(scope="module")
def on_desk(browser: Browser, report: Path) -> Iterator[Opened]:
    """The report on a desk: for tests that leave it as it is."""
    with opened(browser, report, width=1280) as found:
        yield found


@pytest.mark.parametrize(
    ("figure", "says"),
    [("finalists", "trial"), ("collapse-map", "trial"), ("slice-1", "learning_rate"), ("history", "trial")],
)
def test_a_point_tells_its_trial_and_configuration(on_desk: Opened, figure: str, says: str) -> None:
    plot = on_desk.page.locator(f"#{figure}-figure")
    plot.scroll_into_view_if_needed()
    plot.locator(".point").first.hover(force=True)
    label = plot.locator(".hoverlayer .hovertext").first
    label.wait_for()
    text = label.text_content() or ""
    assert says in text
    assert "batch" in text
    assert "dropout" in text


def test_the_keyboard_reaches_the_copy_buttons_and_they_copy(browser: Browser, report: Path) -> None:
    with opened(browser, report, width=1280) as found:
        found.page.keyboard.press("Tab")
        assert found.page.evaluate("document.activeElement.className") == "skip"
        button = found.page.locator("button[data-copy=yaml]")
        button.focus()
        outline = button.evaluate("element => getComputedStyle(element).outlineStyle")
        found.page.keyboard.press("Enter")
        found.page.wait_for_function("document.querySelector('button[data-copy=yaml]').textContent === 'Copied'")
        assert outline == "solid"
        assert found.complaints == []


def test_on_paper_everything_is_open_drawn_and_on_white(browser: Browser, report: Path, tmp_path: Path) -> None:
    with opened(browser, report, width=1280, dark=True) as found:
        found.page.emulate_media(media="print")
        found.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        found.page.wait_for_timeout(500)
        closed = found.page.locator("details:not([open]):not(.screen)").count()
        undrawn = found.page.evaluate(
            "Array.from(document.querySelectorAll('.figure')).filter(f => !f.querySelector('.main-svg')).length"
        )
        assert (closed, undrawn) == (0, 0)
        assert found.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        found.page.screenshot(path=tmp_path / "print.png", full_page=True)
        size = len(found.page.pdf(path=tmp_path / "print.pdf", format="A4", print_background=True))
        assert size > 50_000
        assert found.complaints == []
    print(f"printed: {tmp_path}")  # noqa: T201


@pytest.mark.parametrize(
    "results",
    [fake.results(), fake.results([fake.trial(0, [], "dead-layer")], reason="no healthy configuration")],
    ids=["nothing tried", "nothing healthy"],
)
def test_an_empty_report_is_quiet_too(browser: Browser, tmp_path: Path, results: fake.Results) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(results), encoding="utf-8")
    with opened(browser, path, width=390) as found:
        draw_all(found.page)
        assert found.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        assert found.page.locator("main > section").count() == len(SECTIONS)
        assert (found.complaints, found.requests) == ([], [])


def test_without_a_browser_the_tests_say_so_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsers.shutil, "which", lambda name: None)
    with pytest.raises(pytest.fail.Exception, match="apt install chromium"), chromium():
        pass
