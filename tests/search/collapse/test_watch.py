"""The watch tells when to stop one fit, and lets audited fits run on."""

from collections.abc import Callable

import numpy as np

from search.collapse.audit import is_audited
from search.collapse.rules import FitContext
from search.collapse.watch import Watch
from search.fit_checks import Check

Make = Callable[..., Check]
Around = Callable[..., FitContext]


def test_a_healthy_fit_goes_on(stuck: Make, context: Around) -> None:
    watch = Watch(context())
    assert [watch.on_check(stuck(epoch, val_skill=0.1 * epoch)) for epoch in range(1, 6)] == [None] * 5
    assert len(watch.checks) == 5
    assert watch.audited_collapse is None


def test_a_dead_fit_is_stopped(stuck: Make, context: Around) -> None:
    watch = Watch(context())
    assert watch.on_check(stuck(1, dead_share=1.0)) is None
    collapse = watch.on_check(stuck(2, dead_share=1.0))
    assert collapse is not None
    assert (collapse.reason, collapse.epoch, watch.audited_collapse) == ("dead-layer", 2, None)


def test_an_audited_fit_runs_on_and_remembers_the_first_stop(stuck: Make, context: Around) -> None:
    watch = Watch(context(), audited=True)
    assert [watch.on_check(stuck(epoch, dead_share=1.0)) for epoch in range(1, 6)] == [None] * 5
    assert watch.audited_collapse is not None
    assert (watch.audited_collapse.reason, watch.audited_collapse.epoch) == ("dead-layer", 2)


def test_an_audited_fit_still_ends_when_it_is_not_finite(stuck: Make, context: Around) -> None:
    watch = Watch(context(), audited=True)
    collapse = watch.on_check(stuck(1, finite=False))
    assert collapse is not None
    assert collapse.reason == "non-finite"
    assert watch.audited_collapse is None


def test_a_second_look_at_an_epoch_replaces_the_first(stuck: Make, context: Around) -> None:
    watch = Watch(context(batchnorm=True))
    watch.on_check(stuck(1, dead_share=1.0))
    assert watch.on_check(stuck(2, dead_share=1.0)) is not None
    assert watch.on_check(stuck(2, dead_share=1.0, train_skill=0.3)) is None
    assert [check.train_skill for check in watch.checks] == [0.0, 0.3]


def test_with_batchnorm_the_audit_waits_for_the_second_look(stuck: Make, context: Around) -> None:
    watch = Watch(context(batchnorm=True), audited=True)
    watch.on_check(stuck(1, dead_share=1.0))
    assert watch.on_check(stuck(2, dead_share=1.0)) is not None  # a fit re-estimates the statistics, and asks again
    assert watch.on_check(stuck(2, dead_share=1.0, train_skill=0.3)) is None
    assert watch.audited_collapse is None  # taken back: no stop to audit
    watch.on_check(stuck(3, dead_share=1.0))
    assert watch.on_check(stuck(4, dead_share=1.0)) is not None
    assert watch.on_check(stuck(4, dead_share=1.0)) is None
    assert watch.audited_collapse is not None
    assert watch.audited_collapse.epoch == 4
    assert watch.on_check(stuck(5, dead_share=1.0)) is None


def test_the_end_is_judged_also_for_an_audited_fit(stuck: Make, context: Around) -> None:
    one_class = np.tile(np.float32([0.9, 0.1]), (9, 1))
    for audited in (False, True):
        collapse = Watch(context(), audited=audited).final(stuck(60), one_class)
        assert collapse is not None
        assert collapse.reason == "prior-predictor"


def test_a_tenth_is_audited_whatever_ran_before() -> None:
    drawn = [is_audited(0, f"{number:012x}", 0, fold) for number in range(400) for fold in range(5)]
    assert 0.08 < sum(drawn) / len(drawn) < 0.12
    assert drawn[17] == is_audited(0, f"{3:012x}", 0, 2)
    assert drawn != [is_audited(1, f"{number:012x}", 0, fold) for number in range(400) for fold in range(5)]
