from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.diagnosis_summary import MOST_LINES, WIDTH, diagnosis_lines
from search.causes import CAUSES
from search.diagnosis.evidence import Diagnosis, NetworkState
from tests.reports import fake_diagnosis as fake

pytestmark = pytest.mark.slow

PAGE = Path("runs/net-diagnosis/diagnosis.html")


def test_a_collapse_with_its_mend() -> None:
    assert diagnosis_lines(fake.diagnosis(), PAGE) == [
        "The network does not learn: its predictions are nearly the same for every image.",
        "Trained as you train it, with 3 seeds: balanced accuracy 0.500 0.500 0.500. Chance is 0.500; a fit",
        "counts as learned if it reaches 0.600 (0 of 3 did).",
        "",
        "Causes:",
        " 1. unscaled-input (confirmed by experiment). The network gets raw pixels from 0 to 255 instead of",
        "    values around 0 to 1.",
        "    dead share 0.93",
        " 2. dead-relu in conv2 (possible; fixing it alone did not help). All ReLU units of a layer output",
        "    zero for every image, so no gradient flows through it.",
        "    dead share 0.93",
        "",
        "Smallest change that makes it learn, with 3 of 3 seeds: scale the pixels to 0..1",
        "    model.add(layers.Rescaling(1 / 255))",
        "  before 0.500 0.500 0.510   after 0.900 0.920 0.880",
        "",
        "Also noticed, but not the cause: majority-class.",
        "",
        "Report with curves and every layer: runs/net-diagnosis/diagnosis.html (took 1 min 33 s)",
    ]


def test_a_healthy_network_is_called_healthy_and_nothing_is_mended() -> None:
    text = "\n".join(diagnosis_lines(fake.diagnosis(NetworkState.HEALTHY), PAGE))
    assert text.startswith("Healthy: the network learns.")
    assert "(3 of 3 did)" in text
    assert "Also noticed, although the network learns: majority-class." in text
    assert "Causes" not in text
    assert "change" not in text


def test_a_cause_that_was_not_tried_is_a_hypothesis() -> None:
    text = "\n".join(diagnosis_lines(fake.diagnosis(causes=(fake.cause(confirmed=None),), fixes=()), PAGE))
    assert "dead-relu in conv2 (likely, not tested)" in text
    assert "confirmed" not in text
    assert "There was no single change to test." in text


@pytest.mark.parametrize(
    ("cut_short", "said"),
    [
        (False, "The one change that was tested does not make the network learn"),
        (True, "Time ran out before all likely causes were tested"),
    ],
)
def test_where_nothing_helps_it_says_so(cut_short: bool, said: str) -> None:
    failed = fake.mend(after=(0.5, 0.5, 0.5), confirmed=False)
    text = "\n".join(diagnosis_lines(fake.diagnosis(fixes=(failed,), cut_short=cut_short), PAGE))
    assert said in text
    assert "Smallest change" not in text


def test_without_a_finished_fit() -> None:
    assert "No fit was finished within the --budget" in "\n".join(diagnosis_lines(fake.diagnosis(runs=()), PAGE))


def test_long_code_is_cut_and_the_effect_stays() -> None:
    lines = diagnosis_lines(fake.diagnosis(fixes=(fake.mend(change="x = 1\n" * 60),)), PAGE)
    assert "   ... more in the report" in lines
    assert "  before 0.500 0.500 0.510   after 0.900 0.920 0.880" in lines


def test_causes_without_room_are_named_further_down() -> None:
    found = [fake.cause(code, layer=None, confirmed=None) for code in ("nan", "lr-too-high", "leak", "bottleneck")]
    lines = diagnosis_lines(fake.diagnosis(causes=tuple(found)), PAGE)
    assert lines[4:13] == [
        "Causes:",
        " 1. nan (likely, not tested). Losses or weights become infinite or undefined.",
        "    dead share 0.93",
        " 2. lr-too-high (likely, not tested). The learning rate is so high that the weights jump past every",
        "    solution.",
        "    dead share 0.93",
        " 3. leak (likely, not tested). Some validation images are also training images.",
        "    dead share 0.93",
        " Less likely: bottleneck.",
    ]


def test_names_cannot_command_the_terminal() -> None:
    assert all(line.isprintable() for line in diagnosis_lines(fake.hostile(), PAGE))


texts = st.text(max_size=300)
causes = st.builds(
    fake.cause,
    st.sampled_from(list(CAUSES)),
    layer=st.none() | texts,
    evidence=st.dictionaries(texts, st.floats() | texts, max_size=8),
    confirmed=st.sampled_from([None, True, False]),
)
mends = st.builds(
    fake.mend,
    st.sampled_from(list(CAUSES)),
    change=st.text("ab \n", max_size=400),
    summary=texts,
    after=st.lists(st.floats(0, 1), max_size=9).map(tuple),
    confirmed=st.booleans(),
)


@settings(max_examples=25)
@given(
    st.builds(
        fake.diagnosis,
        st.sampled_from(NetworkState),
        causes=st.lists(causes, max_size=9).map(tuple),
        remarks=st.lists(causes, max_size=9).map(tuple),
        fixes=st.lists(mends, max_size=5).map(tuple),
        runs=st.integers(0, 40).map(lambda n: tuple(fake.run(seed, epochs=1) for seed in range(n))),
        cut_short=st.booleans(),
    )
)
def test_never_more_than_twenty_five_lines(diagnosis: Diagnosis) -> None:
    lines = diagnosis_lines(diagnosis, PAGE)
    assert 1 <= len(lines) <= MOST_LINES
    assert all(line.isprintable() for line in lines)
    code = {f"    {line}" for mend in diagnosis.fixes for line in mend.change.splitlines()}
    assert all(len(line) <= WIDTH for line in lines if line not in code)
    assert lines[-1].startswith("Report with curves")


@settings(max_examples=25)
@given(st.lists(causes, min_size=1, max_size=9).map(tuple))
def test_the_first_cause_is_always_named(found: tuple[fake.Cause, ...]) -> None:
    lines = diagnosis_lines(replace(fake.diagnosis(), causes=found), PAGE)
    assert any(line.startswith(f" 1. {found[0].code}"[:WIDTH]) for line in lines)
