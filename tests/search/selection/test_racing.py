import numpy as np
import pytest

from search.selection.racing import residual_spread, should_stop

BEST = [0.80, 0.70, 0.75]


@pytest.mark.parametrize(
    ("done", "incumbent", "spread", "reason"),
    [
        ([], BEST, 0.01, None),
        ([0.5], [], 0.01, None),
        ([0.69], BEST, None, "mean of 1 fold 0.690 is below the worst fold 0.700"),
        ([0.70], BEST, None, None),
        ([0.1 + 0.2], [0.9, 0.3 + 1e-15], None, None),
        ([0.71], BEST, None, None),
        ([0.71], BEST, 0.01, "0.090 behind the best trial on the same 1 fold, more than 0.023"),
        ([0.71], BEST, 0.05, None),
        ([0.79, 0.68], BEST, 0.01, None),
        ([0.77, 0.68], BEST, 0.01, "0.025 behind the best trial on the same 2 folds, more than 0.016"),
        ([0.90, 0.45], BEST, None, "mean of 2 folds 0.675"),
        ([0.90, 0.95], BEST, 0.01, None),
        ([0.71], BEST, 0.0, None),
        ([0.1, 0.1, 0.1], BEST, 0.01, None),
    ],
)
def test_when_a_trial_stops(done, incumbent, spread, reason) -> None:
    said = should_stop(done, incumbent, spread)
    assert said is None if reason is None else said is not None and reason in said


def test_the_residual_spread_is_free_of_trial_and_fold_effects() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.025, (300, 5))
    effects = rng.normal(0, 0.3, (300, 1)) + rng.normal(0, 0.3, (1, 5))
    assert residual_spread(noise) == pytest.approx(0.025, rel=0.1)
    assert residual_spread(noise + effects) == pytest.approx(residual_spread(noise))


@pytest.mark.parametrize("shape", [(0, 5), (2, 5), (4, 1)])
def test_too_little_for_a_residual_spread(shape) -> None:
    assert residual_spread(np.zeros(shape)) is None


def _race(scores: np.ndarray) -> tuple[float, bool]:
    """Share of the folds that were run, and whether the winner is that of full cross-validation."""
    complete: list[int] = []
    used = 0
    for number, folds in enumerate(scores):
        best = max(complete, key=lambda trial: scores[trial].mean(), default=None)
        incumbent = [] if best is None else scores[best].tolist()
        spread = residual_spread(scores[complete]) if complete else None
        for count in range(1, len(folds) + 1):
            used += 1
            if should_stop(folds[:count].tolist(), incumbent, spread):
                break
        else:
            complete.append(number)
    winner = max(complete, key=lambda trial: scores[trial].mean())
    return used / scores.size, winner == int(scores.mean(axis=1).argmax())


@pytest.mark.parametrize("folds", [3, 5])
def test_racing_saves_folds_and_keeps_the_winner(folds) -> None:
    rng = np.random.default_rng(1)
    outcomes = []
    for _ in range(40):
        true, shared = rng.normal(0.7, 0.05, (60, 1)), rng.normal(0, 0.03, (1, folds))
        outcomes.append(_race(true + shared + rng.normal(0, 0.025, (60, folds))))
    used, kept = np.mean(outcomes, axis=0)
    assert used < 0.6
    assert kept >= 0.9
