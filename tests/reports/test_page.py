from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from reports.glossary import GLOSSARY
from reports.markdown import markdown
from reports.page import SECTIONS, page
from reports.terminal_summary import closing_lines
from search.records import TrialState
from search.selection.results import Results
from tests.reports import fake_results as fake
from tests.reports import fake_robustness as robust

pytestmark = pytest.mark.slow

EVIL = "</script><script>alert(1)</script>"


class Reader(HTMLParser):
    """The page's elements, texts and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.words: list[str] = []
        self.first: dict[str, str] = {}  # first paragraph of each section
        self._inside = ""
        self._section = ""
        self._is_first = False  # inside the first paragraph of a section
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")
        elif tag == "section":
            self._section = dict(attrs)["id"] or ""
        elif tag == "p" and self._section and self._section not in self.first:
            self.first[self._section] = ""
            self._is_first = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""
        if tag == "p":
            self._is_first = False

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside == "style":
            self.styles.append(data)
        else:
            self.words.append(data)
            if self._is_first:
                self.first[self._section] += data

    @property
    def ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs in self.tags if "id" in attrs]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


FULL = robust.everything(40)
BARE = fake.results(fake.trials(40), test=True)
MANY = {f"class {place:02d} with a long name of its own": 9 + place for place in range(30)}

CASES: dict[str, Callable[[], Results]] = {
    "everything": lambda: FULL,
    "not confirmed": lambda: BARE,
    "only confirmed": lambda: robust.confirmed(BARE),
    "no test": lambda: replace(FULL, study=replace(FULL.study, test=None)),
    "no thumbnails": lambda: replace(FULL, study=replace(FULL.study, thumbnails={}, files=())),
    "no mistakes": lambda: robust.looked_at(BARE, mistakes=0, suspects=0),
    "no neighbours": lambda: robust.looked_at(robust.weighed(robust.confirmed(BARE))),
    "no confirmed fits": lambda: replace(FULL, finalists=FULL.finalists[:1], study=replace(FULL.study, further=())),
    "confirmed in part": lambda: replace(FULL, recommended=replace(FULL.recommended, finalist=None)),  # type: ignore
    "thirty classes": lambda: robust.everything(20, classes=MANY),
    "both families": lambda: robust.looked_at(robust.confirmed(fake.both_families(0.1))),
    "exact classifiers alone": lambda: robust.confirmed(fake.both_families(0.0, exact_only=True)),
    "inconclusive": lambda: fake.results(fake.trials(12), inconclusive=True),
    "collapsed": lambda: fake.results(
        [fake.trial(i, [], fake.REASONS[i % 2]) for i in range(6)], reason="no healthy configuration"
    ),
    "unhealthy": lambda: fake.results(fake.trials(12), healthy=False, reason="no healthy configuration"),
    "unhealthy finalists": lambda: replace(
        FULL, recommended=None, reason="no healthy configuration", control=fake.CONTROL, on_images=None
    ),
    "cut off": lambda: fake.results([replace(fake.trial(0, []), state=TrialState.INTERRUPTED)]),
    "nothing": lambda: fake.results(),
}


@cache
def read(name: str) -> tuple[Results, Reader]:
    results = CASES[name]()
    return results, Reader(page(results))


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> tuple[Results, Reader]:
    return read(request.param)


def test_every_page_has_all_sections_in_order(case: tuple[Results, Reader]) -> None:
    results, reader = case
    assert [attrs["id"] for tag, attrs in reader.tags if tag == "section"] == list(SECTIONS)
    assert len(reader.ids) == len(set(reader.ids))
    assert results.depth_sentence in reader.text
    assert results.study.command in reader.text
    links = {attrs["href"] for tag, attrs in reader.tags if tag == "a"}
    assert {f"#{name}" for name in SECTIONS} <= links <= {f"#{name}" for name in reader.ids}


def test_every_further_section_begins_with_a_sentence_even_where_there_is_nothing_to_show(
    case: tuple[Results, Reader],
) -> None:
    _, reader = case
    texts = [reader.first[name] for name in list(SECTIONS)[1:]]
    assert all(len(text) > 15 for text in texts), texts


def test_headings_never_skip_a_level(case: tuple[Results, Reader]) -> None:
    _, reader = case
    levels = [int(tag[1]) for tag, _ in reader.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


def test_every_term_is_explained_and_linked_once_where_it_is_first_used(case: tuple[Results, Reader]) -> None:
    _, reader = case
    terms = [f"term-{term}" for term in GLOSSARY]
    assert [name for name in reader.ids if name.startswith("term-")] == terms
    links = [attrs["href"] for tag, attrs in reader.tags if tag == "a" and attrs.get("class") == "term"]
    assert len(links) == len(set(links))
    assert set(links) <= {f"#{term}" for term in terms}
    assert all(text in reader.text for text in GLOSSARY.values())


def test_a_full_page_links_nearly_all_terms() -> None:
    links = {attrs["href"] for tag, attrs in read("everything")[1].tags if attrs.get("class") == "term"}
    assert {"#term-fit", "#term-trial", "#term-fold", "#term-collapse", "#term-finalist", "#term-promise"} <= links
    assert {"#term-skill", "#term-racing", "#term-cliff"} <= links


def test_every_page_loads_nothing(case: tuple[Results, Reader]) -> None:
    _, reader = case
    for tag, attrs in reader.tags:
        assert tag not in {"link", "iframe", "object", "base"}
        assert not {"srcset", "data", "poster"} & set(attrs)
        assert (attrs.get("src") or "data:image/jpeg;base64,").startswith("data:image/jpeg;base64,")
        assert "src" not in attrs or tag == "img"
        assert (attrs.get("href") or "#").startswith("#")
    for style in reader.styles:
        assert "url(" not in style
        assert "@import" not in style
    policies = [attrs["content"] for _, attrs in reader.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert [policy.split(";")[0] for policy in policies if policy] == ["default-src 'none'"]


def test_every_page_fits_a_phone_and_tells_what_its_figures_show(case: tuple[Results, Reader]) -> None:
    _, reader = case
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in reader.tags
    for tag, attrs in reader.tags:
        if tag == "svg" or attrs.get("role") in {"img", "region"}:
            assert attrs.get("aria-label")
        if tag == "img":
            assert attrs.get("alt")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("everything", "Recommended configuration"),
        ("inconclusive", "Inconclusive"),
        ("collapsed", "No healthy configuration"),
        ("unhealthy", "None of the"),
        ("nothing", "The search ended before it tried a configuration"),
    ],
)
def test_the_headline_says_how_it_ended(name: str, words: str) -> None:
    assert words in read(name)[1].text


def test_the_promise_stands_beside_the_score_of_the_search_chance_and_test() -> None:
    results, reader = read("everything")
    assert results.recommended is not None
    for value in (results.recommended.promise.value, results.recommended.ranked.pooled, results.chance, 0.81):
        assert f"{value:.3f}" in reader.text
    assert "too high" in reader.text


def test_five_hundred_trials_and_twenty_classes_stay_below_eight_megabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # with plotly.js itself
    results = robust.everything(500, classes={f"class {place:02d}": 20 + place for place in range(20)}, finalists=8)
    text = page(results)
    assert 4_000_000 < len(text.encode()) < 8_000_000


def test_strange_names_stay_text() -> None:
    trials = [
        *fake.trials(20),
        fake.trial(20, [], EVIL),
        replace(fake.trial(21, [0.7, 0.6]), reason="<img src=x onerror=alert(1)>"),
    ]
    results = fake.results(
        trials,
        classes={EVIL: 30, '"><b onmouseover=alert(1)>': 31, "{{ 7 * 7 }}": 32, "\x1b[31m": 33},
        quarantined={f"{EVIL}.png": "<i>bad</i>"},
        folder=f"/data/{EVIL}",
        depth_sentence="<u>deep</u>",
    )
    results = replace(
        results, study=replace(results.study, command=EVIL, device=EVIL, versions={EVIL: EVIL}, settings={EVIL: [EVIL]})
    )
    results = robust.looked_at(
        robust.weighed(robust.surrounded(robust.confirmed(results))), file=lambda row: f"{row}{EVIL}"
    )
    evil, tame = Reader(page(results)), read("everything")[1]
    assert len(evil.scripts) == len(tame.scripts)
    assert {tag for tag, _ in evil.tags} <= {tag for tag, _ in tame.tags}
    assert not any(name.startswith("on") for _, attrs in evil.tags for name in attrs)
    assert EVIL in evil.text
    assert "{{ 7 * 7 }}" in evil.text
    assert "\\x1b[31m" in evil.text


def test_the_templates_stand_inside_the_package() -> None:
    assert re.search(r'only-include = \[.*"reports"', (fake.ROOT / "pyproject.toml").read_text())
    names = {path.name for path in (fake.ROOT / "reports" / "templates").iterdir()}
    assert {"report.html", "style.css", "script.js", *(f"{name}.html" for name in SECTIONS)} <= names


@pytest.mark.parametrize("suspect", ["networks", "labels", "unknown"])
def test_where_nothing_is_healthy_every_report_says_whom_the_control_suspects(suspect: str) -> None:
    found = fake.results(fake.trials(6), healthy=False, reason="no healthy configuration")
    found = replace(found, recommended=None, control=replace(fake.CONTROL, suspect=suspect))
    said = {"networks": "contain information", "labels": "no better than random", "unknown": "too few images to tell"}[
        suspect
    ]
    assert said in page(found)
    assert said in markdown(found)
    assert said in " ".join(closing_lines(found))
