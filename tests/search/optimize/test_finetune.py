"""Which heads are fine-tuned, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import optuna
import pytest

from search.optimize.enqueue import TrialQueue
from search.optimize.finetune import FIRST, RATE, JudgedTrial, finetune_candidates
from search.storage.trial_attributes import CONFIGURATION, PLACE
from spaces.config import Configuration
from spaces.definitions import Choices, Fixed
from spaces.presets import CORE, TRANSFER, known_good, with_weights

SPACE = with_weights(TRANSFER, ["mobilenet_025", "mobilenet_v2"]).changed({"classifier": Fixed("layers")})
HEAD = known_good(SPACE)[0]


def head(learning_rate: float, value: float | None, **changes: object) -> JudgedTrial:
    return JudgedTrial(replace(HEAD, learning_rate=learning_rate, **changes).as_dict(), value)


def heads(values: Sequence[float | None]) -> list[JudgedTrial]:
    """Told apart by their learning rates: .001, .002, ..."""
    return [head(0.001 * (1 + number), value) for number, value in enumerate(values)]


def rates(found: Sequence[Configuration]) -> list[tuple[str, int]]:
    return [(one.trainable, round(one.learning_rate / 0.001)) for one in found]


def test_the_best_of_the_first_heads_is_fine_tuned_and_again_at_each_doubling() -> None:
    assert FIRST == 20
    values = [0.5 + 0.001 * number for number in range(40)]
    assert finetune_candidates(heads(values[:19]), SPACE) == []
    first = [("last_block", 20), ("all", 20)]
    assert rates(finetune_candidates(heads(values[:20]), SPACE)) == first
    assert rates(finetune_candidates(heads(values[:39]), SPACE)) == first
    assert rates(finetune_candidates(heads(values), SPACE)) == [*first, ("last_block", 40), ("all", 40)]
    falling = values[::-1]
    assert rates(finetune_candidates(heads(falling), SPACE)) == [("last_block", 1), ("all", 1)]  # the same one: once


def test_of_equal_heads_the_earlier_one_and_none_that_was_stopped() -> None:
    values = [None, 0.5, 0.9, 0.9, *16 * [None]]
    assert rates(finetune_candidates(heads(values), SPACE)) == [("last_block", 3), ("all", 3)]
    assert finetune_candidates(heads(20 * [None]), SPACE) == []


def test_other_trials_do_not_count() -> None:
    others = [
        head(0.01, 0.99, trainable="last_block"),
        head(0.01, 0.99, statistics="re_estimated"),
        JudgedTrial(replace(HEAD, backbone="none", head="average", dense_ratio=0.0).as_dict(), 0.99),
    ]
    assert finetune_candidates(9 * others, SPACE) == []
    assert rates(finetune_candidates([*others, *heads([0.6, *19 * [0.5]])], SPACE)) == [("last_block", 1), ("all", 1)]


@pytest.mark.parametrize(("learning_rate", "share"), [(1e-3, 0.1), (1e-4, 1.0), (0.05, 0.01)])
def test_the_backbone_learns_slowly(learning_rate: float, share: float) -> None:
    found = finetune_candidates(20 * [head(learning_rate, 0.8)], SPACE)
    assert [one.backbone_rate for one in found] == [pytest.approx(share)] * 2
    assert all(one.learning_rate * one.backbone_rate <= max(RATE, 0.01 * learning_rate) * 1.001 for one in found)
    assert {replace(one, trainable="frozen", backbone_rate=0.1).hash for one in found} == {
        replace(HEAD, learning_rate=learning_rate).hash
    }


def test_a_space_decides_what_may_learn() -> None:
    judged = heads([0.6, *19 * [0.5]])
    assert finetune_candidates(judged, CORE) == []
    assert finetune_candidates(judged, SPACE.changed({"trainable": Fixed("frozen")})) == []
    blocks = SPACE.changed({"trainable": Choices(("frozen", "last_block")), "backbone_rate": Fixed(0.3)})
    assert [(one.trainable, one.backbone_rate) for one in finetune_candidates(judged, blocks)] == [("last_block", 0.3)]


def test_a_study_tries_them_before_what_is_drawn() -> None:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    storage, seen = study._storage, []
    for place in range(FIRST + 3):
        TrialQueue(study, storage, SPACE, ()).refill()
        trial = study.ask()
        drawn = SPACE.sample(trial)
        seen.append(drawn.trainable)
        known = drawn if place >= FIRST else replace(HEAD, learning_rate=0.001 * (1 + place))
        trial.set_user_attr(CONFIGURATION, known.as_dict())
        trial.set_user_attr(PLACE, place)
        study.tell(trial, 0.5 if place != 7 else 0.9)
    assert seen[FIRST : FIRST + 2] == ["last_block", "all"]
    assert [t.params["learning_rate"] for t in study.trials[FIRST : FIRST + 2]] == [pytest.approx(0.008)] * 2
    assert "fixed_params" not in study.trials[FIRST + 2].system_attrs


@pytest.mark.parametrize("resolution", [160, 224])
def test_a_solved_head_is_fine_tuned_with_layers_on_the_same_features(resolution: int) -> None:
    space = with_weights(TRANSFER, ["mobilenet_v2", "efficientnet_lite0"])
    solved = next(one for one in known_good(space) if one.is_closed_form and one.backbone == "efficientnet_lite0")
    heads = [JudgedTrial(replace(solved, resolution=resolution).as_dict(), 0.9)]
    heads += [JudgedTrial(replace(solved, classifier="ridge").as_dict(), 0.5) for _ in range(FIRST - 1)]
    found = finetune_candidates(heads, space)
    assert [one.trainable for one in found] == ["last_block", "all"]
    for one in found:
        assert (one.backbone, one.head, one.resolution) == (solved.backbone, solved.head, resolution)
        assert (one.classifier, one.is_closed_form) == ("layers", False)
        assert one.learning_rate * one.backbone_rate == pytest.approx(RATE)
