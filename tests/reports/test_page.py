from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import pytest

from reports.closing import closing_lines
from reports.figures import collapsed_examples, curves, figure_json, history
from reports.markdown import markdown
from reports.page import page
from search.selection.results import Results
from tests.reports import made

EVIL = "</script><script>alert(1)</script>"


class Reader(HTMLParser):
    """The page's elements, texts and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside == "style":
            self.styles.append(data)
        else:
            self.words.append(data)

    @property
    def ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs in self.tags if "id" in attrs]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


CASES = {
    "recommended": made.results(made.trials(40), test=True, quarantined={"a/b.png": "truncated"}),
    "inconclusive": made.results(made.trials(12), inconclusive=True),
    "collapsed": made.results(
        [made.trial(i, [], made.REASONS[i % 2]) for i in range(6)], reason="no healthy configuration"
    ),
    "unhealthy": made.results(made.trials(12), healthy=False, reason="no healthy configuration"),
    "nothing": made.results(),
}


@cache
def read(name: str) -> Reader:
    return Reader(page(CASES[name]))


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> tuple[Results, Reader]:
    return CASES[request.param], read(request.param)


def test_every_page_has_its_parts(case: tuple[Results, Reader]) -> None:
    results, reader = case
    always = {"headline", "collapses", "map", "data", "run"}
    assert always <= set(reader.ids)
    assert ("best" in reader.ids) == bool(results.ranking)
    assert ("history" in reader.ids) == bool(results.study.trials)
    assert len(reader.ids) == len(set(reader.ids))
    assert results.depth_sentence in reader.text
    assert results.study.command in reader.text
    links = {attrs["href"] for tag, attrs in reader.tags if tag == "a"}
    assert links <= {f"#{name}" for name in reader.ids}


def test_every_page_loads_nothing(case: tuple[Results, Reader]) -> None:
    _, reader = case
    for tag, attrs in reader.tags:
        assert tag not in {"link", "iframe", "img", "object", "base"}
        assert not {"src", "srcset", "data", "poster"} & set(attrs)
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


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("recommended", "Recommended configuration"),
        ("inconclusive", "Inconclusive"),
        ("collapsed", "No healthy configuration"),
        ("unhealthy", "None of the"),
        ("nothing", "The search ended before one configuration was tried"),
    ],
)
def test_the_headline_says_how_it_ended(name: str, words: str) -> None:
    assert words in read(name).text


def test_the_promise_stands_beside_the_optimistic_score_chance_and_test() -> None:
    results = CASES["recommended"]
    assert results.recommended is not None
    text = read("recommended").text
    for value in (results.recommended.promise.value, results.recommended.ranked.pooled, results.chance, 0.81):
        assert f"{value:.3f}" in text


def test_the_page_stays_below_six_megabytes() -> None:
    assert len(page(made.results(made.trials(300)))) < 6_000_000


def test_strange_names_stay_text() -> None:
    trials = [
        *made.trials(12),
        made.trial(12, [], EVIL),
        replace(made.trial(13, [0.7, 0.6]), reason="<img src=x onerror=alert(1)>"),
    ]
    results = made.results(
        trials,
        classes={EVIL: 30, '"><b onmouseover=alert(1)>': 31, "{{ 7 * 7 }}": 32, "\x1b[31m": 33},
        quarantined={f"{EVIL}.png": "<i>bad</i>"},
        folder=f"/data/{EVIL}",
        depth_sentence="<u>deep</u>",
    )
    results = replace(
        results, study=replace(results.study, command=EVIL, device=EVIL, versions={EVIL: EVIL}, settings={EVIL: [EVIL]})
    )
    evil, tame = Reader(page(results)), read("recommended")
    assert len(evil.scripts) == len(tame.scripts)
    assert {tag for tag, _ in evil.tags} == {tag for tag, _ in tame.tags}
    assert not any(name.startswith("on") for _, attrs in evil.tags for name in attrs)
    assert EVIL in evil.text
    assert "{{ 7 * 7 }}" in evil.text
    assert "\\x1b[31m" in evil.text


def test_figures_are_strict_json_without_markup() -> None:
    trials = [*made.trials(12), made.trial(12, [], "non-finite"), made.trial(13, [], EVIL)]
    for figure in (history(made.results(trials)), curves(made.results(trials))):
        text = figure_json(figure)
        assert not set("<>&") & set(text)
        parsed = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
        assert parsed["data"]
        assert EVIL not in json.dumps(parsed)


def test_collapsed_trials_lie_on_the_line_of_chance() -> None:
    results = made.results([made.trial(0, [0.9] * 5), made.trial(1, [0.8], "dead-layer")])
    [collapsed] = [trace for trace in history(results).data if "collapsed" in trace.name]
    assert list(collapsed.x) == [1]
    assert list(collapsed.y) == [results.chance]


def test_the_best_so_far_never_falls() -> None:
    results = made.results([made.trial(n, [score] * 5) for n, score in enumerate([0.7, 0.6, 0.8, 0.75])])
    [best] = [trace for trace in history(results).data if trace.name == "best so far"]
    assert list(best.y) == pytest.approx([0.7, 0.7, 0.8, 0.8])


def test_one_example_a_reason_the_longest_and_frequent_ones_first() -> None:
    trials = [made.trial(n, [], "no-gradient" if n == 4 else "dead-layer") for n in range(8)]
    examples = collapsed_examples(made.results(trials))
    assert list(examples) == ["dead-layer", "no-gradient"]
    assert len(examples["dead-layer"].checks) == max(len(t.fits[0].checks) for t in trials if t.reason == "dead-layer")


def test_the_templates_stand_inside_the_package() -> None:
    assert re.search(r'only-include = \[.*"reports"', (made.ROOT / "pyproject.toml").read_text())
    names = {path.name for path in (made.ROOT / "reports" / "templates").iterdir()}
    assert {"report.html", "style.css", "script.js"} <= names


@pytest.mark.parametrize("suspect", ["networks", "labels", "unknown"])
def test_where_nothing_is_healthy_every_report_says_whom_the_control_suspects(suspect: str) -> None:
    found = made.results(made.trials(6), healthy=False, reason="no healthy configuration")
    found = replace(found, recommended=None, control=replace(made.CONTROL, suspect=suspect))
    said = {"networks": "tell something", "labels": "drawn by lot", "unknown": "too little to tell"}[suspect]
    assert said in page(found)
    assert said in markdown(found)
    assert said in " ".join(closing_lines(found))
