from __future__ import annotations

from dataclasses import replace

import pytest

from search.selection.ranking import candidates
from search.selection.shortlist import ConfirmationSize, are_close, confirmation_size, shortlist
from search.settings import TrainingProtocol
from spaces.config import Configuration
from spaces.image_format import ImageFormat
from spaces.presets import DEFAULT
from tests.factories import configuration, drawn

PROTOCOL = TrainingProtocol(epochs=10, images=ImageFormat(image_size=32, channels=3), classes=3)


@pytest.mark.parametrize(
    ("changes", "close"),
    [
        ({}, True),
        ({"learning_rate": 1.2e-3}, True),
        ({"learning_rate": 1.3e-3}, False),
        ({"dropout": 0.14}, True),
        ({"dropout": 0.2}, False),
        ({"width": 20}, True),
        ({"batch_size": 32}, False),
        ({"initializer": "he_uniform"}, False),
        ({"horizontal_flip": True}, False),
        ({"depth": 4}, False),
        ({"kernel_size": 5}, False),
    ],
)
def test_close_is_a_small_step_in_numbers_and_the_same_choices(changes, close):
    assert are_close(configuration(), configuration(**changes)) is close


@pytest.mark.parametrize(("rate", "close"), [(0.06, True), (0.01, False)])
def test_a_backbones_rate_counts_by_ratio(rate, close):
    tuned = configuration(backbone="resnet50", head="average", trainable="all", backbone_rate=0.05)
    assert are_close(tuned, replace(tuned, backbone_rate=rate)) is close


def test_depth_and_ratio_that_make_the_same_layers_are_close():
    assert are_close(configuration(depth=3, dense_ratio=0.3), configuration(depth=3, dense_ratio=0.4))


def test_each_is_compared_with_all_that_are_better(make_trial, labels):
    """Brute force, over pairs; a third of the configurations are small steps from others."""
    drawn_ = drawn(DEFAULT, seed=3, count=60)
    near = [replace(one, learning_rate=one.learning_rate * 1.2, dropout=min(0.9, one.dropout + 0.03)) for one in drawn_]
    configurations = [*drawn_, *near[::2]]
    trial = make_trial(labels, 0, 4.0)
    (found,) = candidates([trial], labels, "balanced_accuracy", 1 / 3, PROTOCOL, 3)
    ranking = [replace(found.ranked, trial=replace(trial, configuration=one)) for one in configurations]
    expected: list[Configuration] = []
    for one in configurations:
        if not any(are_close(one, other) for other in expected):
            expected.append(one)
    assert 60 <= len(expected) < 90
    assert [one.trial.configuration for one in shortlist(ranking, len(ranking))] == expected


def test_the_best_healthy_ones_without_their_doubles(make_trial, labels):
    trials = [make_trial(labels, number, quality) for number, quality in enumerate([4.0, 2.5, 1.5, 0.0])]
    found = [one.ranked for one in candidates(trials, labels, "balanced_accuracy", 1 / 3, PROTOCOL, 3)]
    assert not found[-1].healthy
    double = replace(found[1], trial=replace(found[1].trial, configuration=found[0].trial.configuration))
    numbers = [one.trial.number for one in shortlist([found[0], double, *found[2:]])]
    assert numbers == [0, 2]
    assert len(shortlist(found, count=1)) == 1


@pytest.mark.parametrize(
    ("count", "budget", "size"),
    [
        (0, 100.0, ConfirmationSize(0, 0)),
        (8, None, ConfirmationSize(8, 5)),
        (8, 400.0, ConfirmationSize(8, 5)),
        (8, 250.0, ConfirmationSize(5, 5)),
        (8, 199.0, ConfirmationSize(6, 3)),
        (8, 89.0, ConfirmationSize(4, 2)),
        (8, 39.0, ConfirmationSize(1, 3)),
        (8, 1.0, ConfirmationSize(1, 1)),
        (2, 100.0, ConfirmationSize(2, 5)),
        (2, 99.0, ConfirmationSize(2, 3)),
    ],
)
def test_more_repeats_first_then_more_finalists(count, budget, size):
    """A repeat of a finalist costs ten."""
    assert confirmation_size(count, lambda finalists, repeats: 10.0 * finalists * repeats, budget) == size


def test_what_is_paid_for_already_is_free():
    """All but the last of eight finalists have their five repeats."""
    assert confirmation_size(8, lambda finalists, repeats: 10.0 * repeats * (finalists == 8), 50.0) == ConfirmationSize(
        8, 5
    )
    assert confirmation_size(8, lambda finalists, repeats: 10.0 * repeats * (finalists == 8), 49.0) == ConfirmationSize(
        7, 5
    )
