"""The glossary of the report: its terms, and the links to them."""

from __future__ import annotations

import re

import pytest

from reports.glossary import GLOSSARY, TermLinks
from tests.reports import fake_results as fake


def test_the_report_and_the_docs_explain_the_same_terms() -> None:
    headings = re.findall(r"^## (\w+)$", (fake.ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    assert [heading.lower() for heading in headings] == list(GLOSSARY)


def test_only_the_first_use_of_a_term_is_linked() -> None:
    link = TermLinks()
    assert link("2 fits") == '2 <a class="term" href="#term-fit">fits</a>'
    assert link("1 fit") == "1 fit"


@pytest.mark.parametrize(
    ("text", "term"),
    [("Trial 4", "trial"), ("0 collapsed", "collapse"), ("near a cliff", "cliff"), ("3 Finalists", "finalist")],
)
def test_terms_are_found_in_other_forms(text: str, term: str) -> None:
    assert f'href="#term-{term}"' in TermLinks()(text)


@pytest.mark.parametrize("text", ["an outfit", "manifold", "unskilled", "retrial"])
def test_other_words_are_not_linked(text: str) -> None:
    assert TermLinks()(text) == text


def test_markup_in_a_text_is_escaped() -> None:
    assert TermLinks()("<b>fit</b>") == '&lt;b&gt;<a class="term" href="#term-fit">fit</a>&lt;/b&gt;'
