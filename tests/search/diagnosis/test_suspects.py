"""What the probe and the fits add to the lint: one line for each piece of evidence."""

import pytest

from search.diagnosis.evidence import Anatomy, DataSample, DiagnosisFit, LayerStatistics, NetworkProbe, NetworkState
from search.diagnosis.suspects import suspects
from tests.search.diagnosis.networks import dense, healthy, material, plain, probe, run

NAN = float("nan")


def layer(name: str, **changes: float) -> LayerStatistics:
    values = {"mean": 0.5, "deviation": 0.5, "between_images": 0.4, "dead": 0.0, **changes}
    return LayerStatistics(name=name, **values)


SOUND = (
    layer("conv", gradient=0.1, update=1e-3),
    layer("fc", gradient=0.1, update=1e-3),
    layer("out", gradient=0.2, update=1e-3),
)
FAILING = [run(seed, update=1e-3) for seed in range(3)]
BATCHNORM = plain("bn", "BatchNormalization", momentum=0.9)


def ranked(
    anatomy: Anatomy, given: DataSample, look: NetworkProbe, runs: list[DiagnosisFit], state: NetworkState
) -> dict[str, float]:
    return {cause.code: cause.score for cause in suspects(anatomy, given, look, runs, state, 1 / 3)}


@pytest.mark.parametrize(
    ("code", "look", "runs", "state", "given"),
    [
        ("nan", probe(*SOUND, finite=False), FAILING, NetworkState.NON_FINITE, material()),
        ("dead-relu", probe(layer("conv", dead=1.0), *SOUND[1:]), FAILING, NetworkState.COLLAPSED, material()),
        ("dead-relu", probe(*SOUND), [run(dead=1.0, dead_layer="conv")] * 3, NetworkState.COLLAPSED, material()),
        ("vanishing-gradient", probe(layer("conv", gradient=1e-7), *SOUND[1:]), FAILING,
         NetworkState.COLLAPSED, material()),
        ("zero-variance-features", probe(SOUND[0], layer("fc", between_images=1e-7), SOUND[2]), FAILING,
         NetworkState.COLLAPSED, material()),
        ("exploding-gradient", probe(*SOUND, loss=500.0), FAILING, NetworkState.COLLAPSED, material()),
        ("sum-not-mean-loss", probe(*SOUND, loss=30.0, batch_ratio=2.0), FAILING, NetworkState.COLLAPSED, material()),
        ("frozen-backbone-batchnorm", probe(*SOUND, backbone_shift=7.0, backbone_spread=1.0), FAILING,
         NetworkState.COLLAPSED, material()),
        ("frozen-backbone-batchnorm", probe(*SOUND, backbone_shift=0.1, backbone_spread=0.01), FAILING,
         NetworkState.COLLAPSED, material()),
        ("lr-too-low", probe(*SOUND), [run(epochs=1, update=1e-9)] * 3, NetworkState.COLLAPSED, material()),
        ("batchnorm-momentum", probe(*SOUND), FAILING, NetworkState.BATCHNORM, material()),
        ("label-noise", probe(*SOUND), FAILING, NetworkState.MEMORISER, material(baseline=0.34)),
        ("label-noise", probe(*SOUND, misaligned=0.6), FAILING, NetworkState.COLLAPSED, material(augment=True)),
        ("leak", probe(*SOUND), FAILING, NetworkState.MEMORISER, material(baseline=0.34, duplicates=200)),
        ("too-few-images", probe(*SOUND), FAILING, NetworkState.MEMORISER,
         material(images=18, classes={"a": 6, "b": 6, "c": 6})),
        ("majority-class", probe(*SOUND), FAILING, NetworkState.THRESHOLD,
         material(classes={"a": 280, "b": 10, "c": 10})),
        ("unscaled-input", probe(*SOUND, high=255.0, loss=90.0), FAILING, NetworkState.COLLAPSED, material()),
    ],
)  # fmt: skip
def test_the_evidence_makes_the_first_suspect(
    code: str, look: NetworkProbe, runs: list[DiagnosisFit], state: NetworkState, given: DataSample
) -> None:
    found = ranked(healthy(dense("fc", 16)), given, look, runs, state)
    assert next(iter(found)) == code, found
    assert found[code] >= 0.4


def test_the_layer_at_which_images_stop_to_differ_is_named_and_not_what_lies_behind_it() -> None:
    anatomy = healthy(dense("fc", 16), first=(plain("crop", "Cropping2D"),))
    look = probe(layer("rescale"), layer("crop", between_images=0.0, dead=1.0), layer("conv", dead=1.0), *SOUND[1:])
    found = suspects(anatomy, material(), look, FAILING, NetworkState.COLLAPSED, 1 / 3)
    assert (found[0].code, found[0].layer) == ("zero-variance-features", "crop")
    assert "dead-relu" not in [cause.code for cause in found]


def test_without_evidence_nothing_is_suspected() -> None:
    found = ranked(healthy(dense("fc", 16)), material(), probe(*SOUND), FAILING, NetworkState.COLLAPSED)
    assert [code for code, score in found.items() if score >= 0.3] == []


def test_scaling_that_the_lint_cannot_read_is_seen_by_the_probe() -> None:
    hidden_scaling = healthy(first=(plain("own", "Lambda"),))
    assert "unscaled-input" not in ranked(hidden_scaling, material(), probe(*SOUND), FAILING, NetworkState.COLLAPSED)
    raw = ranked(hidden_scaling, material(), probe(*SOUND, high=255.0), FAILING, NetworkState.COLLAPSED)
    assert raw["unscaled-input"] >= 0.5


def test_a_fit_that_fails_speaks_for_a_wrong_pairing() -> None:
    anatomy = healthy(loss="categorical_crossentropy")
    broken = DiagnosisFit(seed=0, epochs=(), learned=False, score=0.0, train_score=0.0, error="ValueError: shapes")
    found = suspects(anatomy, material(), probe(*SOUND, loss=NAN), [broken], NetworkState.COLLAPSED, 1 / 3)
    assert (found[0].code, found[0].evidence["error"]) == ("wrong-loss-pairing", "ValueError: shapes")
