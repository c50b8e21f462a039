from dataclasses import replace

import pytest

from search.records import Fit, Verdict
from search.selection.corruption_losses import corruption_losses


def fit(score: float | None, verdict: Verdict = Verdict.LEARNED, **corrupted: float) -> Fit:
    """`noise_1=0.7` is the score under "noise/1"."""
    return Fit(
        key="k",
        trial=0,
        stage="confirm",
        configuration="c",
        repeat=0,
        fold=0,
        attempt=0,
        seed=0,
        verdict=verdict,
        score=score,
        corrupted={name.replace("_", "/"): value for name, value in corrupted.items()},
    )


def test_losses_are_means_over_the_fits_that_were_measured() -> None:
    fits = (
        fit(0.9, noise_1=0.8, noise_2=0.5, blur_1=0.9, blur_2=0.95),
        fit(0.7, noise_1=0.68, noise_2=0.5, blur_1=0.6, blur_2=0.65),
        fit(0.8),  # not corrupted
        fit(0.9, Verdict.COLLAPSED, noise_1=0.0, noise_2=0.0),
        fit(None, noise_1=0.0, noise_2=0.0),
        fit(float("nan"), noise_1=0.0, noise_2=0.0),
        replace(fit(0.9), corrupted={"noise/1": float("nan"), "noise/2": float("nan")}),
    )
    losses = corruption_losses(fits)
    assert list(losses) == ["noise", "blur"]
    assert losses["noise"] == pytest.approx((0.06, 0.3))
    assert losses["blur"] == pytest.approx((0.05, 0.0))


def test_a_gain_is_a_negative_loss() -> None:
    assert corruption_losses([fit(0.5, jpeg_1=0.6, jpeg_2=0.7)])["jpeg"] == pytest.approx((-0.1, -0.2))


def test_what_was_measured_in_one_strength_only_is_left_out() -> None:
    assert corruption_losses([fit(0.5, jpeg_1=0.4)]) == {}


def test_without_fits_there_are_no_losses() -> None:
    assert corruption_losses([]) == {}
