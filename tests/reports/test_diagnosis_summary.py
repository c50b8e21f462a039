from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.diagnosis_summary import MOST_LINES, WIDTH, diagnosis_lines
from search.causes import CAUSES
from search.diagnosis.evidence import Diagnosis, NetworkState
from tests.reports import made_diagnosis as made

pytestmark = pytest.mark.slow

PAGE = Path("runs/net-diagnosis/diagnosis.html")


def test_a_collapse_with_its_mend() -> None:
    assert diagnosis_lines(made.diagnosis(), PAGE) == [
        "It does not learn: it gives nearly the same answer for every image.",
        "Trained as you train it, with 3 seeds: balanced accuracy 0.500 0.500 0.500; guessing gives 0.500,",
        "and from 0.600 on it counts as learning (0 of 3).",
        "",
        "Why:",
        " 1. unscaled-input (confirmed by experiment). Raw pixels of 0 to 255 go in where values around 0 to",
        "    1 are expected.",
        "    dead share 0.93",
        " 2. dead-relu in conv2 (possible: its change alone was tried and did not help). Whole layers of ReLU",
        "    units give zero for every image, so no gradient passes.",
        "    dead share 0.93",
        "",
        "Smallest change that makes it learn, in 3 of 3 seeds: scale the pixels to 0..1",
        "    model.add(layers.Rescaling(1 / 255))",
        "  before 0.500 0.500 0.510   after 0.900 0.920 0.880",
        "",
        "Also true, but not the cause: majority-class.",
        "",
        "More, with curves and every layer: runs/net-diagnosis/diagnosis.html (1 min 33 s)",
    ]


def test_a_healthy_network_is_called_healthy_and_nothing_is_mended() -> None:
    text = "\n".join(diagnosis_lines(made.diagnosis(NetworkState.HEALTHY), PAGE))
    assert text.startswith("Healthy: it learns.")
    assert "(3 of 3)" in text
    assert "Also noticed, though it learns: majority-class." in text
    assert "Why" not in text
    assert "change" not in text


def test_a_cause_that_was_not_tried_is_a_hypothesis() -> None:
    text = "\n".join(diagnosis_lines(made.diagnosis(causes=(made.cause(confirmed=None),), fixes=()), PAGE))
    assert "dead-relu in conv2 (likely, not tried)" in text
    assert "confirmed" not in text
    assert "There was no single change to try." in text


@pytest.mark.parametrize(
    ("cut_short", "said"),
    [
        (False, "The one change that was tried does not make it learn"),
        (True, "The time ended before all likely causes were tried"),
    ],
)
def test_where_nothing_helps_it_says_so(cut_short: bool, said: str) -> None:
    failed = made.mend(after=(0.5, 0.5, 0.5), confirmed=False)
    text = "\n".join(diagnosis_lines(made.diagnosis(fixes=(failed,), cut_short=cut_short), PAGE))
    assert said in text
    assert "Smallest change" not in text


def test_without_a_finished_fit() -> None:
    assert "No fit of it was finished" in "\n".join(diagnosis_lines(made.diagnosis(runs=()), PAGE))


def test_long_code_is_cut_and_the_effect_stays() -> None:
    lines = diagnosis_lines(made.diagnosis(fixes=(made.mend(change="x = 1\n" * 60),)), PAGE)
    assert "   ... more in the page" in lines
    assert "  before 0.500 0.500 0.510   after 0.900 0.920 0.880" in lines


def test_causes_without_room_are_named_further_down() -> None:
    found = [made.cause(code, layer=None, confirmed=None) for code in ("nan", "lr-too-high", "leak", "bottleneck")]
    lines = diagnosis_lines(made.diagnosis(causes=tuple(found)), PAGE)
    assert lines[4:13] == [
        "Why:",
        " 1. nan (likely, not tried). Losses or weights become infinite or undefined.",
        "    dead share 0.93",
        " 2. lr-too-high (likely, not tried). The learning rate is so high that the weights jump past every",
        "    solution.",
        "    dead share 0.93",
        " 3. leak (likely, not tried). Images of the validation part also lie in the training part.",
        "    dead share 0.93",
        " Further down: bottleneck.",
    ]


def test_names_cannot_command_the_terminal() -> None:
    assert all(line.isprintable() for line in diagnosis_lines(made.hostile(), PAGE))


texts = st.text(max_size=300)
causes = st.builds(
    made.cause,
    st.sampled_from(list(CAUSES)),
    layer=st.none() | texts,
    evidence=st.dictionaries(texts, st.floats() | texts, max_size=8),
    confirmed=st.sampled_from([None, True, False]),
)
mends = st.builds(
    made.mend,
    st.sampled_from(list(CAUSES)),
    change=st.text("ab \n", max_size=400),
    summary=texts,
    after=st.lists(st.floats(0, 1), max_size=9).map(tuple),
    confirmed=st.booleans(),
)


@settings(max_examples=25)
@given(
    st.builds(
        made.diagnosis,
        st.sampled_from(NetworkState),
        causes=st.lists(causes, max_size=9).map(tuple),
        remarks=st.lists(causes, max_size=9).map(tuple),
        fixes=st.lists(mends, max_size=5).map(tuple),
        runs=st.integers(0, 40).map(lambda n: tuple(made.run(seed, epochs=1) for seed in range(n))),
        cut_short=st.booleans(),
    )
)
def test_never_more_than_twenty_five_lines(diagnosis: Diagnosis) -> None:
    lines = diagnosis_lines(diagnosis, PAGE)
    assert 1 <= len(lines) <= MOST_LINES
    assert all(line.isprintable() for line in lines)
    code = {f"    {line}" for mend in diagnosis.fixes for line in mend.change.splitlines()}
    assert all(len(line) <= WIDTH for line in lines if line not in code)
    assert lines[-1].startswith("More, with curves")


@settings(max_examples=25)
@given(st.lists(causes, min_size=1, max_size=9).map(tuple))
def test_the_first_cause_is_always_named(found: tuple[made.Cause, ...]) -> None:
    lines = diagnosis_lines(replace(made.diagnosis(), causes=found), PAGE)
    assert any(line.startswith(f" 1. {found[0].code}"[:WIDTH]) for line in lines)
