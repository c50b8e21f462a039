from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache

import pytest

from reports.diagnosis_figures import fit_curves, layer_profile
from reports.diagnosis_page import diagnosis_page, layer_rows
from search.diagnosis.evidence import Diagnosis, NetworkState
from tests.reports import fake_diagnosis as fake
from tests.reports.test_page import Reader

pytestmark = pytest.mark.slow

CASES = {
    "collapsed": fake.diagnosis(),
    "healthy": fake.diagnosis(NetworkState.HEALTHY),
    "no mend": fake.diagnosis(fixes=(), causes=(fake.cause(confirmed=None),), cut_short=True),
    "nothing": fake.diagnosis(runs=(), causes=(), fixes=(), remarks=(), names=("only",)),
    "hostile": fake.hostile(),
}


@cache
def read(name: str) -> Reader:
    return Reader(diagnosis_page(CASES[name]))


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> tuple[Diagnosis, Reader]:
    return CASES[request.param], read(request.param)


def test_every_page_has_its_parts_and_links_that_lead_somewhere(case: tuple[Diagnosis, Reader]) -> None:
    diagnosis, reader = case
    sections = [attrs["id"] for tag, attrs in reader.tags if tag == "section"]
    parts = {"verdict": True, "causes": diagnosis.causes, "remarks": diagnosis.remarks, "tried": diagnosis.fixes,
             "fits": diagnosis.runs, "profile": True, "setup": True}  # fmt: skip
    assert sections == [name for name, there in parts.items() if there]
    assert len(reader.ids) == len(set(reader.ids))
    links = {attrs["href"] for tag, attrs in reader.tags if tag == "a"}
    assert links == {f"#{name}" for name in sections if name != "remarks"}


def test_the_page_is_one_file_and_asks_for_nothing(case: tuple[Diagnosis, Reader]) -> None:
    _, reader = case
    assert not [attrs for _, attrs in reader.tags if "src" in attrs]
    assert not [tag for tag, _ in reader.tags if tag in ("link", "img", "iframe", "object")]
    policy = [attrs for tag, attrs in reader.tags if tag == "meta" and "http-equiv" in attrs]
    assert policy[0]["content"].startswith("default-src 'none'")


def test_figures_are_strict_json_for_elements_that_exist(case: tuple[Diagnosis, Reader]) -> None:
    _, reader = case
    figures = [attrs["data-figure"] for tag, attrs in reader.tags if tag == "script" and "data-figure" in attrs]
    for name, text in zip(figures, reader.scripts, strict=False):
        assert name in reader.ids
        assert json.loads(text, parse_constant=lambda constant: pytest.fail(constant))["data"]
    assert "profile-figure" in figures


def test_what_comes_from_outside_stays_text() -> None:
    reader = read("hostile")
    assert len(reader.scripts) == len(read("collapsed").scripts)
    assert not [attrs for _, attrs in reader.tags if "onerror" in attrs]
    assert "alert(1)" not in "".join(reader.scripts[2:])  # after the figures, where names are escaped text
    assert fake.EVIL in reader.text
    assert "{{ 7 * 7 }}" in reader.text
    assert "49" not in re.findall(r"\b49\b", reader.text)
    assert "\x1b" not in diagnosis_page(fake.hostile())


def test_hypotheses_are_worded_so() -> None:
    text = read("no mend").text
    assert "Likely, not tested" in text
    assert "Time ran out before all likely causes were tested" in text
    assert "The causes below are hypotheses" in text
    assert "Confirmed by experiment" not in text
    assert "Confirmed by experiment" in read("collapsed").text


def test_the_change_is_there_to_copy() -> None:
    text = read("collapsed").text
    assert "The smallest change that makes it learn, with 3 of 3 seeds" in text
    assert "model.add(layers.Rescaling(1 / 255))" in text
    assert "0.900 0.920 0.880" in text


def test_layers_without_a_probe_have_dashes_and_suspects_are_marked() -> None:
    diagnosis = fake.diagnosis(names=("a", "conv2"))
    probe = replace(diagnosis.probe, layers=diagnosis.probe.layers[1:])
    first, second = layer_rows(replace(diagnosis, probe=probe))
    assert first.signals == ("–",) * 5
    assert not first.suspected
    assert second.signals == ("0.1", "0.01", "20 %", "1e-05", "0.0001")
    assert second.suspected


def test_settings_of_a_layer_in_words() -> None:
    layer = fake.layer("x", initializer="RandomNormal", l2=0.01, rate=0.5, trainable=False)
    diagnosis = fake.diagnosis()
    (row,) = layer_rows(replace(diagnosis, anatomy=replace(diagnosis.anatomy, layers=(layer,))))
    assert row.settings == "RandomNormal, dropout 0.5, L2 0.01, frozen"


def test_curves_leave_out_what_is_not_finite_and_stretch_large_losses() -> None:
    epochs = (fake.epoch(0, loss=900.0), fake.epoch(1, loss=float("inf"), val_loss=float("nan")), fake.epoch(2))
    figure = fit_curves(fake.diagnosis(runs=(replace(fake.run(0), epochs=epochs),)))
    assert figure is not None
    by_part = {(trace.yaxis, trace.line.dash): list(trace.y) for trace in figure.data}
    assert by_part["y2", "dot"] == [900.0, None, 0.7]
    assert by_part["y2", "solid"] == [0.6931, None, 0.6931]
    assert figure.layout.yaxis2.type == "log"


def test_there_are_no_curves_without_an_epoch() -> None:
    assert fit_curves(fake.diagnosis(runs=(fake.run(0, epochs=0),))) is None


def test_layers_with_no_weights_have_no_gradient_and_zero_is_drawn_at_the_floor() -> None:
    diagnosis = fake.diagnosis()
    layers = (fake.probe_of("a", 0, gradient=None, update=None), fake.probe_of("b", 1, gradient=0.0, update=None))
    figure = layer_profile(replace(diagnosis, probe=replace(diagnosis.probe, layers=layers)))
    assert figure is not None
    drawn = {trace.name: (list(trace.x), list(trace.y)) for trace in figure.data}
    assert drawn["norm of the weights' gradient"] == ([1], [1e-12])
    assert set(drawn) == {
        "deviation of the outputs", "variation between images", "silent for every image", "norm of the weights' "
        "gradient"
    }  # fmt: skip


@pytest.mark.parametrize(("count", "named"), [(40, True), (41, False)])
def test_names_stand_under_the_axis_while_there_is_room(count: int, named: bool) -> None:
    figure = layer_profile(fake.diagnosis(names=tuple(f"layer{place}" for place in range(count))))
    assert figure is not None
    assert (figure.layout.xaxis.ticktext is not None) == named
