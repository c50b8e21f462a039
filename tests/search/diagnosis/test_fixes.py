"""Changes for each cause: they name the cause, and edit what the lint found."""

import pytest

from search.causes import CAUSES, Cause
from search.diagnosis import changes as c
from search.diagnosis.evidence import Anatomy, DataSample
from search.diagnosis.fixes import fixes_for, generic_fixes
from search.diagnosis.fixes_network import suitable_momentum
from search.diagnosis.fixes_training import balanced_class_weights, usual_rate
from search.diagnosis.lint import lint
from tests.search.diagnosis.networks import dense, healthy, material, plain, two_classes
from tests.search.diagnosis.test_lint import CASES


@pytest.mark.parametrize(("code", "anatomy", "given", "layer"), CASES, ids=[f"{i}-{k[0]}" for i, k in enumerate(CASES)])
def test_every_fault_that_can_be_seen_has_a_change(
    code: str, anatomy: Anatomy, given: DataSample, layer: str | None
) -> None:
    found = fixes_for(lint(anatomy, given)[0], anatomy, given)
    assert found
    for change in found:
        assert change.code == code
        assert change.edits
        assert change.summary
        assert change.lines
        assert change.size in (1, 2)


@pytest.mark.parametrize("code", ["leak", "too-few-images", "label-noise"])
def test_faults_of_the_data_are_not_mended_in_the_network(code: str) -> None:
    assert fixes_for(Cause(code=code, score=1.0), healthy(), material()) == ()


@pytest.mark.parametrize(
    ("code", "anatomy", "given", "edits"),
    [
        ("softmax-on-one-unit", healthy(last=[dense("out", 1, "softmax")], loss="binary_crossentropy"), two_classes(),
         {c.SetActivation(("out",), "sigmoid")}),
        ("missing-output-activation", healthy(last=[dense("out", 3, "linear")]), material(),
         {c.SetActivation(("out",), "softmax")}),
        ("wrong-loss-pairing", healthy(loss="categorical_crossentropy"), material(),
         {c.SetLoss("sparse_categorical_crossentropy")}),
        ("wrong-loss-pairing", healthy(last=[dense("out", 1, "sigmoid")], loss="binary_crossentropy"),
         material(labels="binary"),
         {c.SetUnits(("out",), 3), c.SetActivation(("out",), "softmax"), c.SetLoss("sparse_categorical_crossentropy"),
          c.SetLabelForm("int")}),
        ("double-softmax",
         healthy(last=[dense("out", 3, "softmax"), plain("end", "Softmax", activation="softmax")]), material(),
         {c.SetActivation(("out",), "linear")}),
        ("unscaled-input", healthy(first=()), material(), {c.RescaleInput(1 / 255)}),
        ("lr-too-high", healthy(learning_rate=0.5), material(), {c.SetLearningRate(0.001)}),
        ("clipnorm-too-small", healthy(clipnorm=1e-9), material(), {c.SetClipnorm(None)}),
        ("no-nonlinearity", healthy(dense("fc", 8, "linear")), material(), {c.SetActivation(("fc",), "relu")}),
    ],
)  # fmt: skip
def test_the_likeliest_change(code: str, anatomy: Anatomy, given: DataSample, edits: set[c.Edit]) -> None:
    assert set(fixes_for(Cause(code=code, score=1.0), anatomy, given)[0].edits) == edits


def test_sgd_goes_slower_with_momentum() -> None:
    assert usual_rate("SGD", 0.9) == pytest.approx(usual_rate("SGD", 0.0) / 10)


def test_rare_classes_weigh_more() -> None:
    assert balanced_class_weights(material(classes={"a": 90, "b": 10})) == {0: 0.556, 1: 5.0}


@pytest.mark.parametrize(("epochs", "low", "high"), [(1, 0.5, 0.5), (20, 0.8, 0.9), (5000, 0.99, 0.99)])
def test_batchnorm_forgets_its_start_in_a_tenth_of_the_fit(epochs: int, low: float, high: float) -> None:
    assert low <= suitable_momentum(material(epochs=epochs)) <= high


def test_generic_changes_name_known_causes() -> None:
    found = generic_fixes(healthy(), material())
    assert found
    assert {change.code for change in found} <= set(CAUSES)
