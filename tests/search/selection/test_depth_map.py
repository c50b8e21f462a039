import re
from dataclasses import replace

import pytest

from search.records import TrialState
from search.selection.depth_map import DEPTHS, RATIOS, depth_map


def _trials(make_trial, labels, count, depth, ratio, quality=1.0, collapsed=(), start=0, state=None):
    head = {"head": "average"} if round(depth * ratio) == 0 else {}
    return [
        make_trial(
            labels,
            start + i,
            quality,
            collapsed=collapsed,
            state=state,
            run=1 if collapsed else None,
            changes={"depth": depth, "dense_ratio": ratio, **head},
        )
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("depth", "ratio", "row", "column"),
    [(1, 0.0, 0, 0), (2, 1.0, 0, 4), (3, 0.2, 1, 1), (9, 0.79, 3, 3), (10, 0.8, 4, 4), (12, 0.5, 4, 2)],
)
def test_which_cell_a_trial_falls_into(make_trial, labels, depth, ratio, row, column) -> None:
    cells, _ = depth_map(_trials(make_trial, labels, 1, depth, ratio), 1 / 3)
    assert len(cells) == 25
    (cell,) = [cell for cell in cells if cell.trials]
    assert (cell.depth, cell.dense_ratio) == (DEPTHS[row], RATIOS[column])


def test_collapsed_trials_count_at_chance_and_failed_ones_not_at_all(make_trial, labels) -> None:
    trials = [
        *_trials(make_trial, labels, 1, 3, 0.3, collapsed=(0,)),
        *_trials(make_trial, labels, 1, 3, 0.3, start=1, state=TrialState.FAILED),
        *_trials(make_trial, labels, 1, 3, 0.3, start=2, state=TrialState.INTERRUPTED),
    ]
    cells, _ = depth_map(trials, 0.25)
    (cell,) = [cell for cell in cells if cell.trials]
    assert (cell.trials, cell.collapsed, cell.score) == (1, 1, 0.25)


def test_a_clear_map_has_a_clear_sentence(make_trial, labels) -> None:
    trials = [
        *_trials(make_trial, labels, 6, 4, 0.3, quality=3.0),
        *_trials(make_trial, labels, 4, 8, 0.7, quality=0.5, start=10),
        *_trials(make_trial, labels, 2, 12, 0.7, quality=0.5, start=20),
        *_trials(make_trial, labels, 5, 12, 0.7, collapsed=(0,), start=30),
    ]
    _, said = depth_map(trials, 1 / 3)
    assert re.fullmatch(
        r"Networks of 3-4 layers that are mostly convolutions scored best "
        r"\(0\.\d\d over 6 trials; all others 0\.\d\d\); of those with 10-12 layers 5 of 7 collapsed\.",
        said,
    )


def test_a_flat_map_says_so(make_trial, labels) -> None:
    trials = [t for i, depth in enumerate([2, 4, 6]) for t in _trials(make_trial, labels, 4, depth, 0.5, start=10 * i)]
    _, said = depth_map(trials, 1 / 3)
    assert said.startswith("No depth or share of dense layers stood out over 12 trials (means 0.")


@pytest.mark.parametrize(("count", "text"), [(1, "1 trial"), (4, "4 trials")])
def test_few_trials_say_little(make_trial, labels, count, text) -> None:
    _, said = depth_map(_trials(make_trial, labels, count, 3, 0.3), 1 / 3)
    assert said == f"Too few trials ({text}) to say which depth or share of dense layers works best."


def test_pretrained_networks_say_nothing_of_depth(make_trial, labels) -> None:
    (trial,) = _trials(make_trial, labels, 1, 3, 0.3)
    trial = replace(trial, configuration=replace(trial.configuration, backbone="mobilenet_v2", head="average"))
    cells, said = depth_map([trial], 1 / 3)
    assert not any(cell.trials for cell in cells)
    assert said.startswith("No network trained from scratch was judged")


def test_even_where_everything_collapsed_there_is_a_sentence(make_trial, labels) -> None:
    _, said = depth_map(_trials(make_trial, labels, 7, 11, 0.3, collapsed=(0,)), 1 / 3)
    assert said.endswith("; of those with 10-12 layers 7 of 7 collapsed.")
