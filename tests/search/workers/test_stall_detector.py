"""How long a process that trains may say nothing."""

from __future__ import annotations

from search.workers.stall_detector import StallDetector


def test_silence_is_borne_by_what_epochs_take() -> None:
    silence = StallDetector()
    assert silence.seconds(None) == 1800.0  # a network is being built
    assert silence.seconds(4.0) == 120.0
    for seconds in (20.0, 30.0, 40.0):
        silence.learn(seconds)
    assert silence.seconds(4.0) == 300.0  # ten times the usual epoch
    assert silence.seconds(500.0) == 1500.0  # its own epochs are long


def test_building_a_network_may_take_ten_times_as_long_as_it_ever_took() -> None:
    silence = StallDetector()
    seen = []
    for seconds in (3.0, 2.0, 4.0, 2.0, 1.0, 40.0, 900.0):
        silence.learn_building(seconds)
        seen.append(silence.seconds(None))
    assert seen == [1800.0, 1800.0, 1800.0, 1800.0, 120.0, 400.0, 1800.0]
